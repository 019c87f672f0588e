"""The two stores hold the same after the same: each is the other's reference."""

import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraudlab.monitoring.labels import Label
from fraudlab.schema import Column, TableSchema
from fraudlab.serving.history import History, build, erase
from tests.features.history_tables import schema, table
from tests.serving.test_history_kept import day, features_of
from tests.support.redis_server import RedisServer


@pytest.mark.parametrize(("seed", "label_times", "text"), [(0, False, True), (1, True, False), (2, True, True)])
def test_whatever_is_sent_fails_is_told_and_erased(
    redis_server: RedisServer, tmp_path: Path, seed: int, label_times: bool, text: bool
) -> None:
    """Rows come late, twice, and in batches of which every third fails; labels come up to 120 days late."""
    draw = random.Random(seed)
    columns = schema(label_times).columns
    ids = Column("row", "string" if text else "integer", "id")
    features = features_of(TableSchema("t", tuple(ids if column.name == "row" else column for column in columns)))
    addresses = [str(tmp_path / "h.sqlite"), redis_server.url(f"alike_{seed}")]
    for address in addresses:
        build(address, table(0, 0).with_columns(pl.col("row").cast(pl.String if text else pl.Int64)), features)
    stores = [History.open(address, features) for address in addresses]

    def row(when: float) -> dict[str, Any]:
        number = draw.randrange(10**6)
        values = {"card_id": draw.choice("abc"), "shop": draw.randrange(3), "amount": draw.randrange(100) / 4}
        moment = day(round(when * 4) / 4)  # many at one
        return {"row": f"x{number}" if text else number, "when": moment, **values, "country": draw.choice("xyz")}

    def sent(store: History, batch: list[dict[str, Any]], request: str, says: Label | None) -> Any:
        found = None
        with suppress(ZeroDivisionError), store.transaction():
            found = store.features_and_add([(each, request, position) for position, each in enumerate(batch)])
            if says is not None:
                store.tell([says])
                raise ZeroDivisionError
        return found

    now, rows = 0.0, [row(0)]
    for step in range(250):
        now += draw.choice([0, 0, 0.25, 1, 3])
        kept = [each for each in rows if each["when"] > day(now - 24)]  # by both: they forget at paces of their own
        act = draw.random()
        if act < 0.6:
            new = [row(now - draw.choice([0, 0, 0, 0, 20])) for _ in range(draw.randrange(1, 4))]
            rows += new
            batch = new + draw.sample(kept, min(len(kept), draw.randrange(2)))
            says = Label(batch[-1]["row"], None, None, True, "failed", 10**15 + step) if step % 3 == 0 else None
            ours, theirs = (sent(store, batch, f"request {step % 20}", says) for store in stores)
        elif act < 0.8 and (label_times or kept):
            about = draw.choice(rows[-60:] if label_times else kept)
            told = int((about["when"] - day(0)).total_seconds() + draw.choice([1, 20, 60, 120]) * 86_400) * 10**6
            told += 1_704_067_200_000_000 + step
            says = Label(about["row"], None, None, draw.random() < 0.5, draw.choice("pq"), told)
            ours, theirs = (store.tell([says], skip_unknown=True) for store in stores)
            if label_times:  # of those of long ago, one store may know more
                continue
        elif act < 0.84 and kept:
            person = str(draw.choice(kept)["row"]) if act < 0.82 else draw.choice(["a", "1"])  # "1": part of a key
            for address in addresses:
                erase(address, [person])
            continue
        else:
            asked = row(now)
            ours, theirs = (store.features(asked) for store in stores)
        assert ours == theirs, step
