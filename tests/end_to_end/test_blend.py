"""Runs of the same rows as one model: weights, metrics, one bundle and its reasons; runs that differ are refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from sklearn.metrics import average_precision_score, roc_auc_score

from fraudlab import bundle as bundles
from fraudlab.bundle import Bundle
from fraudlab.bundle.scoring import score_file
from fraudlab.errors import UserError
from fraudlab.metrics.ranking import average_precision
from fraudlab.monitoring.drift import Reference
from fraudlab.runs.blend import check_alike, choose
from fraudlab.runs.folder import RunFolder
from tests.conftest import SMALL, Command

QUICK = ("report=false", "logger=none")
PARTS = ("val", "test")


@pytest.fixture(scope="module")
def folder(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of three models, of which trees and the others read differently scaled numbers, and a blend of them."""
    folder = tmp_path_factory.mktemp("blend")
    plain = [setting for setting in SMALL if not setting.startswith(("trainer.", "batch_size"))]
    for name, overrides in (
        ("trees", [*plain, "model=lightgbm", "model.threads=1", "features.encoder.scaling=none"]),
        ("network", [*SMALL, "model=tabnet"]),
        ("linear", [*plain, "model=logistic_regression"]),
    ):
        done = command("train", *overrides, *QUICK, f"hydra.run.dir={folder}/{name}")
        assert done.returncode == 0, done.stderr
    runs = f"runs=[{folder}/trees,{folder}/network,{folder}/linear]"
    done = command("blend", runs, "admin_cost=7", f"hydra.run.dir={folder}/blend")  # its members were told none
    assert done.returncode == 0, done.stderr
    assert "parity" in done.stdout
    # Weights of ours, so that a test does not rest on which members are picked: everything else follows from them.
    blend = json.loads((folder / "blend" / "blend.json").read_text())
    (folder / "chosen.json").write_text(json.dumps(blend))
    for member, weight in zip(blend["members"], (0.5, 0.3, 0.2), strict=True):
        member["weight"] = weight
    shutil.copytree(folder / "blend", folder / "three")
    (folder / "three" / "blend.json").write_text(json.dumps(blend))
    for part in PARTS:
        scores = [_scores(Path(member["run"]), part) for member in blend["members"]]
        rows = pl.read_parquet(folder / "three" / "predictions" / f"{part}.parquet")
        score = (np.array([0.5, 0.3, 0.2]) @ np.stack(scores)).astype(np.float32)
        rows.with_columns(score=score).write_parquet(folder / "three" / "predictions" / f"{part}.parquet")
    done = command("export", f"run={folder}/three", "calibration=none")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return bundles.load(folder / "three" / "bundle")


def _scores(run: Path, part: str) -> np.ndarray:
    return pl.read_parquet(run / "predictions" / f"{part}.parquet")["score"].to_numpy().astype(np.float64)


def test_a_blend_is_the_weighted_mean_and_no_worse_on_validation(folder: Path) -> None:
    blend, metrics = (json.loads((folder / "blend" / name).read_text()) for name in ("blend.json", "metrics.json"))
    weights = [member["weight"] for member in blend["members"]]
    assert sum(weights) == pytest.approx(1)
    assert weights == sorted(weights, reverse=True)
    for part in PARTS:
        mean = sum(weight * _scores(Path(m["run"]), part) for weight, m in zip(weights, blend["members"], strict=True))
        assert _scores(folder / "blend", part) == pytest.approx(mean, abs=1e-6)
    rows = {part: pl.read_parquet(folder / "blend" / f"predictions/{part}.parquet") for part in ("val", "test")}
    for part, frame in rows.items():
        assert metrics[part]["roc_auc"] == pytest.approx(roc_auc_score(frame["label"], frame["score"]))
        expected = average_precision_score(frame["label"], frame["score"])
        assert metrics[part]["average_precision"] == pytest.approx(expected)
    alone = [json.loads((Path(m["run"]) / "metrics.json").read_text()) for m in blend["members"]]
    assert metrics["val"]["average_precision"] >= max(each["val"]["average_precision"] for each in alone) - 1e-9
    for member, weight in zip(blend["members"], weights, strict=True):
        others = [(m, w) for m, w in zip(blend["members"], weights, strict=True) if m is not member and w]
        if not weight or not others:
            assert member["adds"] is None
            continue
        left = sum(w * _scores(Path(m["run"]), "val") for m, w in others)
        without = average_precision_score(rows["val"]["label"], left)
        assert member["adds"] == pytest.approx(metrics["val"]["average_precision"] - without, abs=1e-6)
    page = (folder / "blend" / "report.html").read_text()
    assert "Members" in page
    assert all(member["run"] in page for member in blend["members"])


def test_its_figures_come_again_and_stand_beside_its_members(folder: Path, command: Command, tmp_path: Path) -> None:
    done = command("evaluate", f"run={folder}/blend")
    assert done.returncode == 0, done.stderr
    assert "the same metrics" in done.stdout
    runs = f"runs=[{folder}/trees,{folder}/blend]"
    done = command("compare", runs, "resamples=100", f"hydra.run.dir={tmp_path}/c")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "c/compare.json").read_text())["differences"][0]["model"] == "blend"


@pytest.fixture(scope="module")
def alone(folder: Path, command: Command) -> dict[str, Bundle]:
    """Each member's own bundle."""
    found = {}
    for name in ("trees", "network", "linear"):
        done = command("export", f"run={folder}/{name}")
        assert done.returncode == 0, done.stderr
        found[name] = bundles.load(folder / name / "bundle")
    return found


def _members(run: Path) -> list[tuple[str, float]]:
    return [(Path(m["run"]).name, m["weight"]) for m in json.loads((run / "blend.json").read_text())["members"]]


def test_the_bundle_scores_as_its_members_do(
    folder: Path, bundle: Bundle, alone: dict[str, Bundle], tmp_path: Path
) -> None:
    """Records, alone and together, and files; encoders that are alike are there once."""
    bundle.check()
    Reference(bundle)  # rows can be judged for drift
    records = [row["record"] for row in bundle.golden()]
    assert [member["weight"] for member in bundle.manifest["members"]] == [0.5, 0.3, 0.2]
    expected = sum(weight * alone[name].predict(records) for name, weight in _members(folder / "three"))
    assert bundle.predict(records) == pytest.approx(expected, abs=1e-6)
    each = np.stack([alone[name].predict(records) for name, _ in _members(folder / "three")])
    spread = bundle.probability_and_spread(bundle.encode(records))[1]
    assert spread is not None
    assert spread.low == pytest.approx(each.min(axis=0), abs=1e-6)  # each of them weighs more than 5 %
    assert spread.high == pytest.approx(each.max(axis=0), abs=1e-6)
    one_by_one = np.concatenate([bundle.predict([record]) for record in records])
    assert one_by_one == pytest.approx(expected, abs=1e-6)
    assert bundle.predict([]).shape == (0,)
    assert len({part.fingerprint for part in bundle.encoder.parts}) == len(bundle.encoder.parts) == 2
    pl.DataFrame(records).write_parquet(tmp_path / "rows.parquet")
    scored = score_file(bundle, tmp_path / "rows.parquet", tmp_path / "scores.parquet").collect()
    assert scored["score"].to_numpy() == pytest.approx(expected, abs=1e-6)


def test_reasons_add_up(bundle: Bundle) -> None:
    records = [row["record"] for row in bundle.golden()[:5]]
    arrays = bundle.encode(records)
    base, each = bundle.contributions(arrays)
    assert 1 / (1 + np.exp(-(base + each.sum(axis=1)))) == pytest.approx(bundle.score(arrays), abs=1e-6)
    for reasons in bundle.explain(records, k=1000):
        names = [reason.column for reason in reasons]
        assert len(names) == len(set(names))  # a column that two encoders read is one
        assert sum(reason.share for reason in reasons) == pytest.approx(1.0)


@pytest.mark.parametrize("weights", [{"trees": 0.7, "linear": 0.3}, {"linear": 1.0}])
def test_reasons_are_those_of_the_members(
    folder: Path, bundle: Bundle, alone: dict[str, Bundle], tmp_path: Path, weights: dict[str, float]
) -> None:
    """By the rule as it is printed, of the members' own bundles; and of an only member its own."""
    names = [name for name, _ in _members(folder / "three")]
    whole = json.loads((bundle.path / "blend.json").read_text())["members"]
    shutil.copytree(bundle.path, tmp_path / "bundle")
    folders = [tmp_path / "bundle" / "members" / str(i) if i else tmp_path / "bundle" for i in range(len(weights))]
    for name, to in zip(weights, folders, strict=True):
        place = names.index(name)
        for file in ("model.onnx", "reasons.safetensors"):
            shutil.copy((bundle.path / "members" / str(place) if place else bundle.path) / file, to / file)
    members = [{**whole[names.index(name)], "weight": weight} for name, weight in weights.items()]
    (tmp_path / "bundle" / "blend.json").write_text(json.dumps({"members": members}))
    made = Bundle(tmp_path / "bundle", {}, "")
    records = [row["record"] for row in bundle.golden()]

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    on_probability, least, most = 0.0, 0.0, 0.0
    for name, weight in weights.items():
        base, each = alone[name].contributions(alone[name].encode(records))
        odds = base + each.sum(axis=1)
        on_probability += weight * each * ((sigmoid(odds) - sigmoid(base)) / (odds - base))[:, None]
        least, most = least + weight * sigmoid(base), most + weight * sigmoid(odds)
    log_odds, base = np.log(most / (1 - most)), np.log(least / (1 - least))
    expected = on_probability * ((log_odds - base) / (most - least))[:, None]
    found_base, found = made.contributions(made.encode(records))
    assert found_base == pytest.approx(base, abs=1e-9)
    assert found == pytest.approx(expected, abs=1e-6)
    if len(weights) == 1:
        assert found == pytest.approx(each, abs=1e-6)


def test_greedy_weights(folder: Path) -> None:
    """Noise gets none, a model counts as often as it was picked, and no exhaustive search of pairs does much better."""
    draw = np.random.default_rng(0)
    label = (draw.random(4000) < 0.05).astype(int)
    sight = [label * 1.5 + draw.normal(0, 1, 4000) for _ in range(3)]
    scores = np.stack([1 / (1 + np.exp(-each)) for each in [*sight, draw.normal(0, 1, 4000)]])
    weights = choose(label, scores, average_precision_score, 100)
    assert weights.sum() == pytest.approx(1)
    assert weights[3] < 0.1
    assert (weights[:3] > 0.2).all()
    best = average_precision_score(label, weights @ scores)
    assert best > max(average_precision_score(label, score) for score in scores)
    grid = [np.array([i, j, 20 - i - j, 0]) / 20 for i in range(21) for j in range(21 - i)]
    assert best > max(average_precision_score(label, each @ scores) for each in grid) - 0.002
    strong, weak = (1 / (1 + np.exp(3 - strength * label - draw.normal(0, 1, 4000))) for strength in (3.0, 1.5))
    found = choose(label, np.stack([strong, weak]), average_precision_score, 100)
    assert 0 < found[1] < 0.5  # too much of it would be worse than none
    none = choose(label, scores[2:], average_precision_score, 0)
    assert set(none) <= {0.0, 0.5, 1.0}
    with pytest.raises(UserError, match="all of one class"):
        choose(np.zeros(10), scores[:, :10], average_precision, 10)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("fingerprint", "data_fingerprint"),
        ("split", r"split\.train_days \(14 and 7\)"),
        ("delay", "label_delay_days"),
        ("rows", "the rows of test"),
        ("labels", "the labels of val"),
        ("refit", "refit"),
        ("test", "train it with test=true"),
        ("blend", "is itself a blend"),
    ],
)
def test_runs_that_differ_are_refused(folder: Path, tmp_path: Path, change: str, said: str) -> None:
    other = Path(shutil.copytree(folder / ("blend" if change == "blend" else "linear"), tmp_path / "other"))
    settings, facts = yaml.safe_load((other / "config.yaml").read_text()), json.loads((other / "run.json").read_text())
    if change == "fingerprint":
        (other / "run.json").write_text(json.dumps({**facts, "data_fingerprint": "another"}))
    elif change == "split":
        settings["split"]["train_days"] = 7
    elif change == "delay":
        settings["label_delay_days"] = 3
    elif change in ("rows", "labels"):
        path = other / "predictions" / ("test.parquet" if change == "rows" else "val.parquet")
        rows = pl.read_parquet(path)
        (rows[1:] if change == "rows" else rows.with_columns(label=1 - pl.col("label"))).write_parquet(path)
    elif change == "refit":
        shutil.rmtree(other / "selection")
    elif change == "test":
        (other / "predictions" / "test.parquet").unlink()
    (other / "config.yaml").write_text(yaml.safe_dump(settings))
    check_alike([RunFolder(folder / "trees"), RunFolder(folder / "linear")])
    with pytest.raises(UserError, match=said):
        check_alike([RunFolder(folder / "trees"), RunFolder(other)])


def test_a_run_of_an_earlier_version_may_be_blended_with_one_of_today(folder: Path, tmp_path: Path) -> None:
    """It wrote no terminals, and a split had fewer settings."""
    old = Path(shutil.copytree(folder / "linear", tmp_path / "old"))
    for path in (old / "predictions").glob("*.parquet"):
        pl.read_parquet(path).drop("terminal_id").write_parquet(path)
    settings = yaml.safe_load((old / "config.yaml").read_text())
    assert settings["split"].pop("known_card_days") is None
    (old / "config.yaml").write_text(yaml.safe_dump(settings))
    check_alike([RunFolder(folder / "trees"), RunFolder(old)])
    check_alike([RunFolder(old), RunFolder(folder / "trees")])


def test_what_a_blend_cannot_do_is_told(folder: Path, command: Command) -> None:
    for name, overrides, said in (
        ("export", [f"run={folder}/three", "quantize=int8", f"out={folder}/x"], "not for blends"),
        ("train", [f"resume={folder}/blend"], "is a blend"),
        ("blend", [f"runs={folder}/trees"], "two or more are needed"),
    ):
        done = command(name, *overrides)
        assert done.returncode == 1
        assert said in done.stderr, done.stderr
