"""Runs, bundles and studies that earlier versions wrote are read, continued or refused by name."""

import json
import math
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import fraudlab.bundle
from tests.conftest import Command

FORMATS = sorted((Path(__file__).parent / "fixtures").glob("format_*"))


@pytest.fixture(params=FORMATS, ids=lambda folder: folder.name)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of what one version wrote, at another path."""
    return Path(shutil.copytree(request.param, tmp_path / "old"))


def split_metrics(folder: Path) -> dict[str, dict[str, float]]:
    metrics = json.loads((folder / "metrics.json").read_text())
    return {part: metrics[part] for part in ("val", "test")}


@pytest.mark.parametrize("model", ["tabnet", "mlp"])
def test_evaluate_gives_the_recorded_metrics(command: Command, old: Path, model: str) -> None:
    done = command("evaluate", f"run={model}", "hydra.run.dir=evaluated", cwd=old)
    # Another machine may differ in the last digits, which evaluate tells of after it has written its metrics.
    assert done.returncode == 0 or "differ from those of the run" in done.stderr, done.stderr
    recorded, now = split_metrics(old / model), split_metrics(old / "evaluated")
    for part, values in recorded.items():
        found = {name: now[part][name] for name in values}  # a later version may measure more
        assert found == pytest.approx(values, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize(("name", "has_masks"), [("bundle_with_masks", True), ("bundle_without_masks", False)])
def test_a_bundle_gives_its_golden_scores(old: Path, name: str, has_masks: bool) -> None:
    bundle = fraudlab.bundle.load(old / name)
    rows = [json.loads(line) for line in (old / name / "golden.jsonl").read_text().splitlines()]
    assert len(rows) > 50
    assert bundle.predict([row["record"] for row in rows]) == pytest.approx([row["score"] for row in rows], abs=1e-6)
    assert bundle.explains == has_masks
    assert not bundle.has_members  # nothing tells of how far they lie apart
    if has_masks:
        for reasons in bundle.explain([row["record"] for row in rows], k=100):
            assert math.fsum(reason.share for reason in reasons) == pytest.approx(1)


def test_a_killed_run_goes_on_to_its_end(command: Command, old: Path) -> None:
    assert not (old / "killed" / "metrics.json").exists()
    done = command("train", "resume=killed", cwd=old)
    assert done.returncode == 0, done.stderr
    facts = json.loads((old / "killed" / "run.json").read_text())
    assert facts["resumed"] == 1
    assert facts["data_fingerprint"] == json.loads((old / "tabnet" / "run.json").read_text())["data_fingerprint"]
    # The run `tabnet` has the same settings and was never killed. Training on another machine differs by rounding,
    # which grows from step to step.
    never_killed, resumed = split_metrics(old / "tabnet"), split_metrics(old / "killed")
    for part, values in never_killed.items():
        assert resumed[part]["roc_auc"] == pytest.approx(values["roc_auc"], abs=0.02)
        assert resumed[part]["brier"] == pytest.approx(values["brier"], abs=0.005)


def test_labels_that_were_known_at_once(command: Command, old: Path) -> None:
    """Settings with them are refused when typed now, but not those of earlier files."""
    config = old / "mlp" / "config.yaml"
    config.write_text(config.read_text().replace("delay_days: 7", "delay_days: 0"))
    done = command("evaluate", "run=mlp", "hydra.run.dir=evaluated", cwd=old)
    assert (old / "evaluated" / "metrics.json").is_file(), done.stderr


def trials(study: Path) -> list[tuple[int, str, float | None]]:
    query = "SELECT number, state, value FROM trials LEFT JOIN trial_values USING (trial_id) ORDER BY number"
    with closing(sqlite3.connect(study)) as connection:
        return connection.execute(query).fetchall()


def test_an_old_study_is_continued_or_refused_by_name(command: Command, old: Path) -> None:
    study = old / "sweep" / "study.db"
    before = trials(study)
    assert [state for _, state, _ in before] == ["COMPLETE", "RUNNING"]
    done = command("sweep", "sweep=old_sweep.yaml", "hydra.run.dir=sweep", "grace=1", "trials=3", cwd=old)
    if done.returncode:
        assert done.stderr.count("error:") == 1
        assert "old_sweep" in done.stderr
        assert "Traceback" not in done.stderr
        assert trials(study) == before
        return
    after = trials(study)
    assert after[0] == before[0]
    assert sum(state == "COMPLETE" for _, state, _ in after) == 3
    assert not any(state in ("RUNNING", "WAITING") for _, state, _ in after)
