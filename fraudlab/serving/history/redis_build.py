"""A history in Redis from a table."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import redis

from fraudlab.errors import UserError
from fraudlab.features.live import DAY, Event, Layout
from fraudlab.serving.history import redis_format, words
from fraudlab.serving.history.redis import Address
from fraudlab.serving.history.redis_format import FORMAT, MOST_TIME, Packed
from fraudlab.serving.history.sqlite_file import columns_of

if TYPE_CHECKING:
    import polars as pl

_AT_ONCE = 2_000  # commands in one go
_ALONE = 60  # seconds that another build is kept out, from the last commands on
_IDS = 1_000  # of one command


def build(text: str, layout: Layout, rows: "pl.DataFrame") -> None:
    """Write a new history; what an earlier try left is deleted, and servers find nothing before all is there.

    Args:
        text: its address.
        layout: of the features.
        rows: of the features' ``events``.

    Raises:
        UserError: there is one of that name, another process makes one, or Redis does not answer.
    """
    from tqdm import tqdm

    address, packed = Address(text), Packed(layout)
    client, prefix = address.client(), address.prefix
    last = rows["time"].cast(int).abs().max()
    if isinstance(last, int) and last >= MOST_TIME:
        raise UserError("a time is later than the year 2255, and a history in Redis ends there")
    try:
        if client.exists(prefix + b"meta"):
            delete = "for _, k in ipairs(redis.call('keys', ARGV[1])) do redis.call('unlink', k) end"
            raise UserError(
                f"there is a history at {address.shown}; choose another one with ?name=, or delete it when no server "
                f"""uses it: redis-cli eval "{delete}" 0 '{prefix.decode()}*'"""
            )
        if not client.set(prefix + b"building", 1, nx=True, ex=_ALONE):
            raise UserError(f"another process makes a history at {address.shown}; try again in a minute")
        _delete(client, prefix, but=prefix + b"building")
        progress = tqdm(_commands(packed, prefix, rows), unit="command", desc="history", disable=None)
        line = client.pipeline(transaction=False)
        for number, command in enumerate(progress):
            line.execute_command(*command)
            if number % _AT_ONCE == _AT_ONCE - 1:
                line.expire((prefix + b"building").decode(), _ALONE)
                line.execute()
        line.execute()
        with client.pipeline(transaction=True) as whole:
            whole.set(prefix + b"meta", json.dumps({"format": FORMAT, "layout": asdict(layout)}))
            whole.delete(prefix + b"building")
            whole.execute()
    except (redis.RedisError, OSError) as error:
        raise UserError(f"{address.shown} cannot take the history: {error}; start the command again") from error


def _delete(client: "redis.Redis", prefix: bytes, but: bytes) -> None:
    pattern = prefix.replace(b"[", rb"\[") + b"*"
    for name in client.scan_iter(pattern, count=_AT_ONCE):
        if name != but:
            client.unlink(name)


def _commands(packed: Packed, prefix: bytes, rows: "pl.DataFrame") -> Iterator[tuple[Any, ...]]:
    layout = packed.layout
    rows = rows.sort("time", "id")
    time = rows["time"].cast(int).to_numpy()
    records = np.zeros(len(rows), packed.record)
    records["time"] = time
    records["id"] = np.frombuffer(redis_format.ids(rows["id"].to_list()), f"V{packed.width}")
    said = rows["known"].is_not_null().to_numpy()
    known = rows["known"].cast(int).fill_null(0).to_numpy()
    fraud = rows["fraud"].cast(int).fill_null(0).to_numpy()
    records["known"], records["fraud"] = np.where(said, known, np.nan), fraud
    for position in range(len(layout.numbers)):
        records["numbers"][:, position] = rows[f"number_{position}"].to_numpy()
    for position in range(len(layout.categories)):
        texts = rows[f"category_{position}"].to_list()
        bytes_of = {value: words.category(value) for value in set(texts)}
        records["categories"][:, position] = np.frombuffer(b"".join(bytes_of[text] for text in texts), words.TYPE)
    for position in range(len(layout.keys)):
        name = f"key_{position}"
        groups = rows.select(name).with_row_index().drop_nulls().group_by(name, maintain_order=True).agg("index")
        for value, own in groups.iter_rows():
            yield "SET", prefix + b"k%d:" % (position + 1) + redis_format.key(value)[1:], records[own].tobytes()
    yield from _rows(packed, prefix, rows, records)
    days, begins = np.unique(time // DAY, return_index=True)
    for day, ids in zip(days.tolist(), np.split(records["id"], begins[1:]), strict=bool(len(rows))):
        for start in range(0, len(ids), _IDS):
            yield "RPUSH", prefix + b"d:%d" % day, *ids[start : start + _IDS].tolist()
        yield "ZADD", prefix + b"queue", day, day
    if layout.delay is not None and len(rows):
        counted = redis_format.ranges(np.where(said, known, time + layout.delay) // DAY, fraud)
        for what, sums in zip((b"labels", b"frauds"), counted, strict=True):
            for field, value in sums.items():
                yield "HSET", prefix + what, field, value
    if len(rows):
        yield "SET", prefix + b"newest", int(time[-1])
    if not layout.text_ids:
        yield "SET", prefix + b"next", max(int(rows["id"].max() or 0) + 1, 0) if len(rows) else 0  # type: ignore[arg-type]


def _rows(packed: Packed, prefix: bytes, rows: "pl.DataFrame", records: Any) -> Iterator[tuple[Any, ...]]:
    layout = packed.layout
    keys, numbers = len(layout.keys), len(layout.numbers)
    ids = records["id"].tolist()
    names = ("id", "time", *columns_of(layout), "known", "fraud")
    for own, (number, time, *values, known, fraud) in zip(ids, rows.select(names).iter_rows(), strict=True):
        of_kinds = values[:keys], values[keys : keys + numbers], values[keys + numbers :]
        event = Event(number, time, *map(tuple, of_kinds))
        yield (
            "SET",
            prefix + b"t:" + own,
            redis_format.label(known, fraud or 0) + packed.sent(event, packed.rest(event)),
        )
