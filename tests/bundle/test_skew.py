"""No skew: a transaction has the same features, bit for bit, and the same score by every way that leads to one."""

import json
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
            record[field["name"]] = data.draw(_TEXT if field["type"] == "string" else _NUMBER)
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


_FAR_OUT = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([1e308, -1e308, 3.5e38, -3.5e38, 3.4e38, 1e38, 1e300, 1e19, 2.0**63, 1e-320, 4.5, -0.0]),
    st.sampled_from([2**63 - 1, -(2**63) + 1, 2**53 + 1, 10**15, 0]),
)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_finite_number_has_one_score_or_one_refusal(
    bundle: Bundle, records: list, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """By way of the service's check and a worker, and by way of a file."""
    numeric = [field for field in bundle.schema["fields"] if field["type"] in ("integer", "number")]
    field = data.draw(st.sampled_from(numeric), label="field")
    number = data.draw(_FAR_OUT, label="number")
    record = {**records[0], field["name"]: number}
    try:
        contract = Contract(clients(bundle.schema, bundle.features, history=False), max_records=1, refuse_unknown=False)
        online = bundle.predict(contract.check(json.dumps(record).encode()).records).tolist()
    except UserError:
        online = None
    folder = tmp_path_factory.mktemp("file")
    types = {f["name"]: pl.Float64 for f in numeric if f["name"] == field["name"] and isinstance(number, float)}
    table = pl.DataFrame([record], infer_schema_length=None, schema_overrides=types)
    table.write_parquet(folder / "in.parquet")
    (folder / "in.csv").write_text(
        ",".join(record) + "\n" + ",".join("" if value is None else str(value) for value in record.values()) + "\n"
    )
    for name in ("in.parquet", "in.csv"):
        try:
            of_file = score_file(bundle, folder / name, folder / "out.parquet").collect()["score"].to_list()
        except UserError:
            of_file = None
        assert of_file == online, name


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_numbers_as_text_are_numbers(bundle: Bundle, records: list, data: st.DataObject) -> None:
    record = data.draw(st.sampled_from(records))
    whole = [name for name in bundle.encoder.categorical if type(record.get(name)) in (int, float)]
    chosen = data.draw(st.lists(st.sampled_from(whole), min_size=1, unique=True))
    as_text = {**record, **{name: f"{record[name]:g}" for name in chosen}}
    assert _same(bundle.encode([as_text]), bundle.encode([record]))
