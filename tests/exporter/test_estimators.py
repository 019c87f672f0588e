"""A run of boosted trees or of a linear model has a bundle as a network's run has, through the same commands."""

import json
import math
import shutil
from pathlib import Path

import lightgbm
import numpy as np
import polars as pl
import pytest
from safetensors import safe_open
from safetensors.numpy import save
from sklearn.metrics import log_loss

from fraudlab import bundle as bundles
from fraudlab.bundle import Bundle
from fraudlab.config import ExportConfig
from fraudlab.errors import UserError
from fraudlab.exporter.writer import export
from fraudlab.runs.folder import RunFolder
from tests.bundle.test_bundle import _signed_again
from tests.conftest import SMALL, Command

QUICK = ("model.n_estimators=20", "report=false", "logger=none")


@pytest.fixture(scope="module")
def folder(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of ``model=lightgbm`` on rows with 49 categorical columns, and its bundle."""
    folder = tmp_path_factory.mktemp("trees")
    data = ("data=ieee_cis_simulated", "data.rows=2000", "trainer.enable_progress_bar=false")
    done = command("train", *data, "model=lightgbm", *QUICK, f"hydra.run.dir={folder}/run")
    assert done.returncode == 0, done.stderr
    done = command("export", f"run={folder}/run", f"out={folder}/bundle", "calibration=platt")
    assert done.returncode == 0, done.stderr
    assert "lightgbm, fp64, quantize=none" in done.stdout
    return folder


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return bundles.load(folder / "bundle")


def test_its_parity_is_of_the_whole_validation(folder: Path, bundle: Bundle) -> None:
    assert bundle.parity["rows"] == len(pl.read_parquet(folder / "run" / "predictions" / "val.parquet"))
    assert bundle.parity["max_difference"] < 1e-6
    assert bundle.parity["records_max_difference"] < 1e-6


def test_with_few_recent_rows_the_scores_of_the_reference_are_those_of_the_test(folder: Path, bundle: Bundle) -> None:
    """The exported model's own, as drift compares them with later ones of it."""
    assert bundle.reference is not None
    scores, test = bundle.reference["scores"], pl.read_parquet(folder / "run" / "predictions" / "test.parquet")
    told = bundle.decision.calibrate(test["score"].to_numpy())[: scores["rows"]]
    counts, _ = np.histogram(told, [-1, *scores["edges"], 2])
    assert len(test) - scores["rows"] < 0.1 * len(test)
    assert counts.tolist() == scores["counts"]


def test_reasons_add_up_to_the_calibrated_score(bundle: Bundle) -> None:
    records = [row["record"] for row in bundle.golden()]
    base, each = bundle.contributions(bundle.encode(records))
    score = bundle.predict(records)
    assert np.abs(1 / (1 + np.exp(-(base + each.sum(axis=1)))) - score).max() < 1e-6
    for record, reasons, added in zip(records, bundle.explain(records, k=1000), each, strict=True):
        assert math.fsum(reason.share for reason in reasons) == pytest.approx(1)
        assert [reason.share for reason in reasons] == sorted((reason.share for reason in reasons), reverse=True)
        assert math.fsum(reason.contribution or 0 for reason in reasons) == pytest.approx(added.sum(), abs=1e-9)
        columns = bundle.columns(record)
        assert all(reason.value == columns[reason.column] for reason in reasons)
    assert bundle.explain([]) == []


def test_a_file_is_scored_as_its_records(command: Command, folder: Path, bundle: Bundle, tmp_path: Path) -> None:
    records = [row["record"] for row in bundle.golden()]
    pl.DataFrame(records, infer_schema_length=None).write_parquet(tmp_path / "in.parquet")
    done = command("predict", f"bundle={folder}/bundle", f"input={tmp_path}/in.parquet", f"output={tmp_path}/o.parquet")
    assert done.returncode == 0, done.stderr
    found = pl.read_parquet(tmp_path / "o.parquet")["score"].to_numpy()
    assert np.abs(found - bundle.predict(records)).max() < 1e-6


def test_columns_without_a_split_leave_the_bundle(folder: Path, bundle: Bundle, tmp_path: Path) -> None:
    shutil.copytree(folder / "run", tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    config = ExportConfig(run=str(run.path), calibration="platt", prune_columns=True)
    provenance = run.provenance()
    config.paths.data_dir = provenance["data_dir"]
    smaller = export(config, run, tmp_path / "bundle")
    found = smaller.parity["smaller"]
    split_on = lightgbm.Booster(model_file=str(run.path / "checkpoints" / "best.txt")).feature_importance() > 0
    names = [*bundle.encoder.categorical, *bundle.encoder.numeric_names]
    used = {name.removesuffix("_missing") for name, one in zip(names, split_on, strict=True) if one}
    assert {*smaller.encoder.categorical, *smaller.encoder.numeric} == used
    assert set(found["left_out"]) == {*bundle.encoder.categorical, *bundle.encoder.numeric} - used
    assert found["after"]["average_precision"] == pytest.approx(found["before"]["average_precision"], abs=1e-9)
    assert found["after"]["columns"] == len(used) < found["before"]["columns"]
    records = [row["record"] for row in smaller.golden()]
    assert np.abs(smaller.predict(records) - bundle.predict(records)).max() < 1e-6
    assert {*smaller.inputs, *smaller.never_missing} <= used


def test_members_are_of_ensembles(folder: Path) -> None:
    run = RunFolder(folder / "run")
    config = ExportConfig(run=str(run.path), members=1)
    config.paths.data_dir = run.provenance()["data_dir"]
    with pytest.raises(UserError, match=r"networks trained with model\.members"):
        export(config, run, folder / "other")
    assert not (folder / "other").exists()


@pytest.mark.parametrize("option", [{"precision": "fp32"}, {"quantize": "int8"}])
def test_what_is_for_networks_is_refused(option: dict[str, str], folder: Path) -> None:
    with pytest.raises(UserError, match="precision and quantize are for model=tabnet or model=mlp"):
        export(ExportConfig(run=str(folder / "run"), **option), RunFolder(folder / "run"), folder / "other")
    assert not (folder / "other").exists()


def test_reasons_of_another_model_are_refused(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder / "bundle", tmp_path / "bundle"))
    with safe_open(copy / "reasons.safetensors", "np") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    (copy / "reasons.safetensors").write_bytes(save({**arrays, "value": arrays["value"] * 2}, {"kind": "trees"}))
    _signed_again(copy)
    with pytest.raises(UserError, match="they are from another model"):
        bundles.load(copy).check()


def test_a_steep_calibration_does_not_refuse_reasons(folder: Path, tmp_path: Path) -> None:
    """It amplifies what rounding to single precision leaves between the model and the sum of its reasons."""
    copy = Path(shutil.copytree(folder / "bundle", tmp_path / "bundle"))
    made = bundles.load(copy)
    records = [row["record"] for row in made.golden()]
    first = float(made.probability(made.encode(records))[0])
    decision = json.loads((copy / "decision.json").read_text())
    decision["calibration"] = {"map": "platt", "slope": 1e4, "intercept": -1e4 * math.log(first / (1 - first))}
    (copy / "decision.json").write_text(json.dumps(decision))
    _signed_again(copy)
    scores = bundles.load(copy).predict(records)
    golden = [json.dumps({"record": record, "score": score}) for record, score in zip(records, scores, strict=True)]
    (copy / "golden.jsonl").write_text("\n".join(golden))
    _signed_again(copy)
    bundles.load(copy).check()


@pytest.mark.parametrize(
    "calibration",
    [
        {"map": "beta", "a": 0.3, "b": 40.0, "c": 1.0},
        {"map": "isotonic", "log_odds": [-6.0, -3.5, -3.0, 1.0], "calibrated": [-9.0, -4.0, -3.0, -2.5]},
    ],
)
def test_reasons_add_up_to_the_score_through_a_curve(
    folder: Path, bundle: Bundle, tmp_path: Path, calibration: dict
) -> None:
    copy = Path(shutil.copytree(folder / "bundle", tmp_path / "bundle"))
    decision = json.loads((copy / "decision.json").read_text())
    (copy / "decision.json").write_text(json.dumps({**decision, "calibration": calibration}))
    _signed_again(copy)
    made = bundles.load(copy)
    records = [row["record"] for row in bundle.golden()]
    arrays = made.encode(records)
    base, each = made.contributions(arrays)
    score = made.score(arrays)
    assert np.abs(1 / (1 + np.exp(-(base + each.sum(axis=1)))) - score).max() < 1e-6
    assert not np.allclose(score, bundle.score(arrays), atol=0.01)
    _, others = bundle.contributions(arrays)  # the same shares and signs, on another scale
    assert (np.sign(each) == np.sign(others)).all()
    assert each / np.abs(each).sum(axis=1, keepdims=True) == pytest.approx(
        others / np.abs(others).sum(axis=1, keepdims=True), abs=1e-9
    )


def test_the_best_calibration_is_told_with_what_the_others_lose(command: Command, folder: Path, tmp_path: Path) -> None:
    done = command("export", f"run={folder}/run", f"out={tmp_path}/bundle", "calibration=best")
    assert done.returncode == 0, done.stderr
    made = bundles.load(tmp_path / "bundle")
    made.check()
    rows = pl.read_parquet(folder / "run" / "predictions" / "val.parquet")
    told = made.decision.calibrations
    assert told["none"] == pytest.approx(log_loss(rows["label"], rows["score"].cast(pl.Float64)))
    assert set(told) == {"none", "platt", "beta", "isotonic"}
    assert "needs 200 frauds" in str(told["isotonic"])
    kind = made.decision.calibration["map"] if made.decision.calibration else "none"
    assert f"calibration  {kind:9}log loss {told[kind]:.6f}, cross-fitted, in use" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("model", ["xgboost", "catboost", "logistic_regression"])
def test_the_others_too(model: str, command: Command, small_data: Path, tmp_path: Path) -> None:
    trees = () if model == "logistic_regression" else QUICK[:1]
    place = f"hydra.run.dir={tmp_path}/run"
    done = command("train", *SMALL, f"model={model}", *trees, *QUICK[1:], "split.train_days=7", place)
    assert done.returncode == 0, done.stderr
    done = command("export", f"run={tmp_path}/run")
    assert done.returncode == 0, done.stderr
    parity = json.loads((tmp_path / "run" / "bundle" / "parity.json").read_text())
    assert parity["max_difference"] < 1e-6
