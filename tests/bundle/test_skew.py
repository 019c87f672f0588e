"""No skew: a transaction has the same features, bit for bit, and the same score by every way that leads to one."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudlab import bundle as bundles
from fraudlab.bundle import Bundle
from fraudlab.bundle.contract import served as clients
from fraudlab.bundle.scoring import score_file
from fraudlab.data.batches import Batch
from fraudlab.errors import UserError
from fraudlab.features.encoder import Arrays
from fraudlab.serving.contract import Contract
from fraudlab.training.scoring import load_network, score

_TEXT = st.one_of(
    st.none(),
    st.sampled_from(["gmail.com", "never seen", "a.b.c", "2220x1080", "visa", "T", "315", ""]),
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=5),
)
_NUMBER = st.one_of(st.none(), st.integers(0, 500), st.floats(-1e9, 1e9), st.sampled_from([1e15, -1e15, 0.1]))
_VALUES = {
    "string": _TEXT,
    "number": _NUMBER,
    "integer": st.one_of(st.none(), st.integers(0, 500), st.sampled_from([10**15, -(10**15)])),
}
_AMOUNT = st.one_of(st.floats(0.001, 1e4), st.sampled_from([1e6, 1e9, 0.0]))


@pytest.fixture(scope="module")
def bundle(exported: tuple[Path, Path]) -> Bundle:
    return bundles.load(exported[1])


@pytest.fixture(scope="module")
def network(exported: tuple[Path, Path]) -> Any:
    return load_network(exported[0] / "checkpoints" / "best.ckpt").double()


@pytest.fixture(scope="module")
def records(bundle: Bundle) -> list[dict[str, Any]]:
    return [row["record"] for row in bundle.golden()]


def _drawn(data: st.DataObject, bundle: Bundle, start: dict[str, Any]) -> dict[str, Any]:
    """A record like ``start``: other values, missing keys, an extra one, in any order."""
    record = dict(start)
    optional = [field for field in bundle.schema["fields"] if field["nullable"] and field["role"] != "id"]
    for field in data.draw(st.lists(st.sampled_from(optional), max_size=6)):
        if data.draw(st.booleans()):
            record.pop(field["name"], None)
        else:
            record[field["name"]] = data.draw(_VALUES[field["type"]])
    record["TransactionAmt"] = data.draw(_AMOUNT)
    record["nobody knows this"] = 1
    return dict(data.draw(st.permutations(list(record.items()))))


def _same(one: Arrays, other: Arrays) -> bool:
    """Bit for bit."""
    return np.array_equal(one.categorical, other.categorical) and one.numeric.tobytes() == other.numeric.tobytes()


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_service_batch_file_and_training_agree(
    bundle: Bundle, network: Any, records: list, data: st.DataObject
) -> None:
    contract = Contract(clients(bundle.schema, bundle.features, history=False), max_records=10, refuse_unknown=False)
    starts = data.draw(st.lists(st.sampled_from(records), min_size=1, max_size=4))
    made = [_drawn(data, bundle, start) for start in starts]
    limits = {f["name"]: (f["minimum"], f["maximum"]) for f in bundle.schema["fields"]}
    for record in made:  # what the contract refuses has no score anywhere
        for name, (least, most) in limits.items():
            value = record.get(name)
            if value is not None and ((least is not None and value < least) or (most is not None and value > most)):
                record[name] = least if least is not None else most

    asked = [contract.check(json.dumps(record).encode()).records[0] for record in made]
    alone = [bundle.encode([record]) for record in asked]
    served = Arrays(*(np.concatenate(parts) for parts in zip(*alone, strict=True)))
    batch = bundle.encode(made)
    types = {"integer": pl.Int64, "number": pl.Float64, "string": pl.String}
    schema = {field["name"]: types[field["type"]] for field in bundle.schema["fields"]}
    frame = pl.DataFrame([{name: record.get(name) for name in schema} for record in made], schema=schema, strict=False)
    of_file = bundle.encoder.transform(bundle.features.of_records(frame, bundle.lookups))
    assert _same(served, batch)
    assert _same(served, of_file)

    one_by_one = np.concatenate([bundle.score(arrays) for arrays in alone])
    trained = score(network, Batch.of(*of_file, np.zeros(len(made))), 64)
    assert np.abs(one_by_one - bundle.score(batch)).max() < 1e-6
    assert np.abs(bundle.probability(of_file) - trained).max() < 1e-6
    assert np.abs(one_by_one - bundle.decision.calibrate(trained)).max() < 1e-6


FAR_OUT = [1.7976931348623157e308, -1e308, 3.5e38, -3.5e38, 3.4e38, 1e38, 1e19, 2.0**63, 1e-320, 4.5, -0.0, 0.1]
WHOLE = [2**63 - 1, -(2**63) + 1, 2**53 + 1, 10**15, 0, -7]


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_any_finite_number_has_one_score_or_one_refusal(
    bundle: Bundle, records: list, tmp_path: Path, kind: str
) -> None:
    """By way of the service's check and a worker, and by way of a file."""
    contract = Contract(clients(bundle.schema, bundle.features, history=False), max_records=1, refuse_unknown=False)
    draw = random.Random(0)
    types = {field["name"]: field["type"] for field in bundle.schema["fields"]}
    numeric = [name for name, kind in types.items() if kind in ("integer", "number")]
    keys = ["TransactionDT", "TransactionAmt", "card1", "card2", "card3", "addr1", "D1", "D15", "C1"]
    scored, refused = [], []
    for name in [*keys, *draw.sample(numeric, 20)]:
        for number in [*FAR_OUT, *WHOLE, draw.uniform(-1, 1) * 10.0 ** draw.randint(-300, 308)]:
            record = {**draw.choice(records), name: number}
            try:
                score = bundle.predict(contract.check(json.dumps(record).encode()).records).item()
                scored.append(({**record, name: int(number)} if types[name] == "integer" else record, score))
            except UserError:
                refused.append((name, record))
    assert len(scored) > 200
    assert len(refused) > 50

    def of_file(rows: list[dict[str, Any]], reals: Sequence[str] = ()) -> list[float]:
        if kind == "parquet":
            table = pl.DataFrame(rows, infer_schema_length=None, schema_overrides=dict.fromkeys(reals, pl.Float64))
            table.write_parquet(tmp_path / "in.parquet")
        else:
            lines = [list(rows[0]), *(["" if row[n] is None else str(row[n]) for n in rows[0]] for row in rows)]
            (tmp_path / "in.csv").write_text("".join(f"{','.join(line)}\n" for line in lines))
        return score_file(bundle, tmp_path / f"in.{kind}", tmp_path / "out.parquet").collect()["score"].to_list()

    found = of_file([record for record, _ in scored])
    assert np.abs(np.array(found) - [score for _, score in scored]).max() < 1e-9
    for name, record in draw.sample(refused, 4):
        with pytest.raises(UserError):
            of_file([record], [name] if isinstance(record[name], float) else [])


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_numbers_as_text_are_numbers(bundle: Bundle, records: list, data: st.DataObject) -> None:
    record = data.draw(st.sampled_from(records))
    whole = [name for name in bundle.encoder.categorical if type(record.get(name)) in (int, float)]
    chosen = data.draw(st.lists(st.sampled_from(whole), min_size=1, unique=True))
    as_text = {**record, **{name: f"{record[name]:g}" for name in chosen}}
    assert _same(bundle.encode([as_text]), bundle.encode([record]))
