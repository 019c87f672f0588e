"""A bundle scores as its checkpoint does, one record as a row of many, without torch, and nothing in it may change."""

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudlab import bundle as bundles
from fraudlab.bundle import Bundle
from fraudlab.bundle.scoring import score_file
from fraudlab.errors import UserError
from fraudlab.exporter import parity
from fraudlab.runs.folder import RunFolder
from tests.conftest import Command
from tests.support.storage import emulated_bucket


@pytest.fixture(scope="module")
def bundle(exported: tuple[Path, Path]) -> Bundle:
    return bundles.load(exported[1])


@pytest.fixture(scope="module")
def records(bundle: Bundle) -> list[dict[str, Any]]:
    return [row["record"] for row in bundle.golden()]


@pytest.fixture
def copy(exported: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported[1], tmp_path / "bundle"))


def test_scores_are_those_of_the_checkpoint(exported: tuple[Path, Path], bundle: Bundle, records: list) -> None:
    from fraudlab.data.batches import Batch
    from fraudlab.training.scoring import load_network, score

    network = load_network(exported[0] / "checkpoints" / "best.ckpt").double()
    arrays = bundle.encode(records)
    theirs = score(network, Batch.of(*arrays, np.zeros(len(records))), 64)
    assert np.abs(bundle.probability(arrays) - theirs).max() < 1e-6
    log_odds = np.log(theirs / (1 - theirs.astype(np.float64)))
    fitted = bundle.decision.calibration
    expected = 1 / (1 + np.exp(-(fitted["slope"] * log_odds + fitted["intercept"])))
    assert bundle.predict(records) == pytest.approx(expected, abs=1e-6)
    bundle.check()


WORDS = st.one_of(st.none(), st.sampled_from(["gmail.com", "never seen", "a.b.c", "2220x1080"]), st.text(max_size=5))
NUMBERS = st.one_of(st.none(), st.floats(-1e9, 1e9), st.integers(0, 500), st.sampled_from(["315", "87.0"]))


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_record_alone_is_its_row_among_many(bundle: Bundle, records: list, data: st.DataObject) -> None:
    """Nulls, unseen words, missing and unknown keys, any order, numbers as text: alone as among others."""
    made = []
    for start in data.draw(st.lists(st.sampled_from(records), min_size=1, max_size=3)):
        record = dict(start)
        for name in data.draw(st.lists(st.sampled_from(["P_emaildomain", "id_33", "DeviceInfo", "card4"]), max_size=3)):
            record[name] = data.draw(WORDS)
        for name in data.draw(st.lists(st.sampled_from(["D2", "D15", "addr1", "V1", "V126", "dist1"]), max_size=3)):
            record[name] = data.draw(NUMBERS)
        for name in data.draw(st.lists(st.sampled_from(sorted(start)), max_size=5)):
            if name not in bundle.never_missing:
                record.pop(name, None)
        record["nobody knows this"] = 1
        made.append(dict(data.draw(st.permutations(list(record.items())))))
    together = bundle.encode(made)
    alone = [bundle.encode([record]) for record in made]
    assert np.array_equal(together.categorical, np.concatenate([each.categorical for each in alone]))
    assert np.array_equal(together.numeric, np.concatenate([each.numeric for each in alone]))
    one_by_one = np.concatenate([bundle.predict([record]) for record in made])
    assert np.abs(bundle.predict(made) - one_by_one).max() < 1e-6


def test_reasons_are_columns_with_shares(bundle: Bundle, records: list) -> None:
    for record, reasons in zip(records, bundle.explain(records, k=1000), strict=True):
        shares = [reason.share for reason in reasons]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1.0)
        assert sum(reason.share for reason in bundle.explain([record], k=3)[0]) <= 1 + 1e-9
        columns = bundle.columns(record)
        assert all(reason.value == columns[reason.column] for reason in reasons)
    assert [len(each) for each in bundle.explain(records[:3], k=2)] == [2, 2, 2]


def test_no_record_one_and_ten_thousand(bundle: Bundle, records: list) -> None:
    assert bundle.predict([]).shape == (0,)
    assert bundle.explain([]) == []
    assert bundle.predict(records[:1]).shape == (1,)
    scores = bundle.predict(records)
    many = bundle.predict((records * (10_000 // len(records) + 1))[:10_000])
    assert many.shape == (10_000,)
    assert np.abs(many - np.resize(scores, 10_000)).max() < 1e-6


def test_a_value_that_is_no_number_is_named(bundle: Bundle, records: list) -> None:
    with pytest.raises(UserError, match="C1 is 'many'; give a number"):
        bundle.predict([{**records[0], "C1": "many"}])


def _signed_again(folder: Path) -> None:
    """Make the manifest agree with what lies in ``folder``, as whoever tampers could."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, facts in manifest["files"].items():
        data = (folder / name).read_bytes()
        facts.update(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _change(folder: Path) -> None:
    data = bytearray((folder / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "model.onnx").write_bytes(data)


def _other_format(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["format"] = 999
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _objects(folder: Path) -> None:
    np.save(folder / "look_ups" / "emails.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    _signed_again(folder)


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (_change, "model.onnx"),
        (lambda folder: (folder / "encoder.json").unlink(), "encoder.json"),
        (lambda folder: (folder / "extra.pkl").write_bytes(pickle.dumps([])), "extra.pkl"),
        (lambda folder: (folder / "manifest.json").unlink(), "manifest.json"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json"),
        (_other_format, "999"),
        (_objects, "not a plain array"),
    ],
)
def test_whatever_was_changed_is_refused(copy: Path, tamper: Any, said: str) -> None:
    tamper(copy)
    with pytest.raises(UserError, match=said):
        bundles.load(copy)


def _other_golden_score(folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / "golden.jsonl").read_text().splitlines()]
    lines[0]["score"] += 1e-3
    (folder / "golden.jsonl").write_text("\n".join(map(json.dumps, lines)))
    _signed_again(folder)


def test_golden_scores_that_do_not_come_out_are_refused(copy: Path) -> None:
    _other_golden_score(copy)
    with pytest.raises(UserError, match="golden record 1"):
        bundles.load(copy).check()


def test_neither_torch_nor_polars_is_needed(exported: tuple[Path, Path], bundle: Bundle, records: list) -> None:
    program = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "polars", "lightning", "hydra", "omegaconf", "pandas", "sklearn"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
from fraudlab import bundle
made = bundle.load(sys.argv[1])
made.check()
print(*map(repr, made.predict([row["record"] for row in made.golden()]).tolist()))
"""
    done = subprocess.run([sys.executable, "-c", program, exported[1]], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert [float(each) for each in done.stdout.split()] == bundle.predict(records).tolist()


def test_files_are_scored_as_records_are(
    command: Command, exported: tuple[Path, Path], bundle: Bundle, records: list, tmp_path: Path
) -> None:
    table = pl.DataFrame(records, infer_schema_length=None)
    table.write_csv(tmp_path / "in.csv")
    table.write_parquet(tmp_path / "in.parquet")
    expected = bundle.predict(records)
    for kind in ("csv", "parquet"):
        paths = f"input={tmp_path}/in.{kind}", f"output={tmp_path}/out.{kind}"
        done = command("predict", f"bundle={exported[1]}", *paths)
        assert done.returncode == 0, done.stderr
        found = pl.read_csv(tmp_path / "out.csv") if kind == "csv" else pl.read_parquet(tmp_path / "out.parquet")
        assert np.abs(found["score"].to_numpy() - expected).max() < 1e-6
        assert found["TransactionID"].to_list() == [record["TransactionID"] for record in records]
        assert found["risk_level"].to_list() == [bundle.decision.level(score) for score in found["score"]]
    table.drop("TransactionAmt").write_csv(tmp_path / "lacks.csv")
    done = command("predict", f"bundle={exported[1]}", f"input={tmp_path}/lacks.csv", f"output={tmp_path}/o.csv")
    assert done.returncode == 1
    assert "TransactionAmt" in done.stderr
    assert not (tmp_path / "o.csv").exists()


def test_rows_are_named_by_id_where_any_row_of_the_file_has_one(bundle: Bundle, records: list, tmp_path: Path) -> None:
    rows = pl.concat([pl.DataFrame([records[0]], infer_schema_length=None)] * 20_000)  # more than a block
    ids = [None] * 19_000 + list(range(1000))
    for name, column, expected in (("TransactionID", ids, ids), ("row", [None] * 20_000, list(range(20_000)))):
        rows.with_columns(pl.Series("TransactionID", column, pl.Int64)).write_parquet(tmp_path / "in.parquet")
        found = score_file(bundle, tmp_path / "in.parquet", tmp_path / "out.parquet").collect()
        assert found[name].to_list() == expected


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket of an emulated Google Cloud Storage."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with emulated_bucket("models", monkeypatch) as bucket:
        yield bucket


def test_a_bundle_comes_from_a_bucket(exported: tuple[Path, Path], bundle: Bundle, storage: Any) -> None:
    with pytest.raises(UserError, match="is not a bundle"):
        bundles.load("gs://models/fraud/v1")
    for file in exported[1].rglob("*"):
        if file.is_file():
            name = f"fraud/v1/{file.relative_to(exported[1])}"
            storage.blob(name).upload_from_filename(os.fspath(file))
    found = bundles.load("gs://models/fraud/v1")
    found.check()
    assert found.version == bundle.version
    with pytest.raises(UserError, match="gs://bucket/folder"):
        bundles.load("gs://models")


@pytest.mark.parametrize("option", ["precision=fp32", "precision=fp16", "quantize=int8"])
def test_a_smaller_model_stays_near_or_is_refused(
    option: str, command: Command, exported: tuple[Path, Path], bundle: Bundle, records: list, tmp_path: Path
) -> None:
    done = command("export", f"run={exported[0]}", f"out={tmp_path}/smaller", option)
    if done.returncode:
        assert "the export is refused" in done.stderr or "average precision on validation falls" in done.stderr
        assert not (tmp_path / "smaller").exists()
        return
    smaller = bundles.load(tmp_path / "smaller")
    size = (smaller.path / "model.onnx").stat().st_size
    assert size < (exported[1] / "model.onnx").stat().st_size
    fall = smaller.parity["average_precision"]["checkpoint"] - smaller.parity["average_precision"]["bundle"]
    if option != "precision=fp32":
        assert fall <= 0.002
    arrays = bundle.encode(records)
    assert 0 < np.abs(smaller.probability(arrays) - bundle.probability(arrays)).max() < 0.2


def test_what_costs_average_precision_is_refused() -> None:
    label = np.array([0, 0, 0, 1, 0, 1, 1, 0, 1, 1] * 100)
    exact = np.linspace(0, 1, len(label))
    found = parity.precision(exact, exact, label, limited=True)
    assert found["bundle"] == found["checkpoint"]
    with pytest.raises(UserError, match="average precision on validation falls by 0"):
        parity.precision(1 - exact, np.where(label == 1, 0.9, 0.1) + exact / 100, label, limited=True)
    with pytest.raises(UserError, match="falls"):  # nothing to tell by
        parity.precision(exact, exact, np.zeros_like(label), limited=True)


def test_scores_apart_are_refused() -> None:
    scores = np.linspace(0, 1, 100)
    assert parity.difference(scores, scores + 0.9e-5, "validation", limited=True) == pytest.approx(0.9e-5)
    with pytest.raises(UserError, match=r"precision=fp64.*features\.encoder\.clip=10"):
        parity.difference(scores, scores + 1.1e-5, "validation", limited=True)
    with pytest.raises(UserError, match="differ by nan"):
        parity.difference(np.full(100, np.nan), scores, "validation", limited=True)
    assert parity.difference(scores, scores + 1e-3, "validation", limited=False) == pytest.approx(1e-3)


def test_a_fresh_process_has_to_give_the_golden_scores(copy: Path) -> None:
    parity.check_in_a_fresh_process(copy)
    _other_golden_score(copy)
    with pytest.raises(UserError, match=r"new process does not reproduce the golden scores.*golden record 1"):
        parity.check_in_a_fresh_process(copy)


def test_what_a_server_cannot_have_is_said(command: Command, tmp_path: Path) -> None:
    quick = ("trainer.max_epochs=1", "trainer.enable_progress_bar=false", "report=false", "logger=none", "refit=false")
    run = f"hydra.run.dir={tmp_path}/run"
    scope = "features.scope=transductive"
    assert command("train", "data=ieee_cis_simulated", "data.rows=2000", scope, *quick, run).returncode == 0
    done = command("export", f"run={tmp_path}/run", f"out={tmp_path}/bundle")
    assert done.returncode == 0, done.stderr
    assert "transductive" in done.stdout
    assert "cannot be had in use" in bundles.load(tmp_path / "bundle").manifest["warnings"][0]


def test_what_is_no_bundle_is_not_replaced(command: Command, exported: tuple[Path, Path]) -> None:
    done = command("export", f"run={exported[0]}", f"out={exported[0]}")
    assert done.returncode == 1
    assert "exists and is not a bundle" in done.stderr


def test_a_model_that_has_learnt_from_all_rows_before_its_test_promises_nothing(
    command: Command, exported: tuple[Path, Path], tmp_path: Path
) -> None:
    assert not RunFolder(exported[0]).predictions_path("recent").is_file()
    done = command("export", f"run={exported[0]}", f"out={tmp_path}/bundle", "medium_recall=0.4", "confidence=0.8")
    assert done.returncode == 1
    assert "cannot be guaranteed" in done.stderr
    assert "refit=false" in done.stderr
    assert not (tmp_path / "bundle").exists()
