"""A run and its data may be moved apart; whatever reads the data again holds them against those of the run."""

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import Command
from tests.support.tables import write_table

OWN = ("data=table", "data.label=fraud", "data.time=time", "features=columns", "split=time_fraction")
QUICK = ("experiment=none", "model=mlp", "model.hidden=[4]", "trainer.max_epochs=1", "batch_size=32", "report=false")


@pytest.fixture(scope="module")
def trained(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, ``t.csv``, and a run on it, ``run``, which names the table from there."""
    folder = tmp_path_factory.mktemp("trained")
    write_table(folder / "t.csv")
    quiet = ("trainer.enable_progress_bar=false", "logger=none")
    done = command("train", *OWN, *QUICK, *quiet, "data.path=t.csv", "hydra.run.dir=run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_data_are_found_where_the_run_had_them(command: Command, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "run", tmp_path / "run")
    for words in (("evaluate", "run=run"), ("export", "run=run", "out=bundle")):
        done = command(*words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr


def test_moved_data_are_named_and_held_against_the_run(command: Command, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "run", tmp_path / "run")
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps({**facts, "data_at": "/gone/t.csv"}))
    (tmp_path / "killed").mkdir()
    shutil.copytree(tmp_path / "run", tmp_path / "killed" / "run")
    (tmp_path / "killed" / "run" / "metrics.json").unlink()
    shutil.copy(trained / "t.csv", tmp_path / "here.csv")
    (tmp_path / "other.csv").write_text((tmp_path / "here.csv").read_text().replace("\n0,", "\n1,", 1))
    for words in (("evaluate", "run=run"), ("export", "run=run", "out=bundle"), ("train", "resume=killed/run")):
        lost = command(*words, cwd=tmp_path)
        assert lost.returncode == 1
        assert "/gone/t.csv" in lost.stderr
        changed = command(*words, "moved.path=other.csv", cwd=tmp_path)
        assert changed.returncode == 1
        assert facts["data_fingerprint"] in changed.stderr
        old = command(*words, "data.path=here.csv", cwd=tmp_path)
        assert "Where the data of a run lie now, moved.path= says." in old.stderr
        absent = command(*words, "moved.raw_dir=raw", cwd=tmp_path)
        assert "has data=table, which does not have this setting" in absent.stderr
        done = command(*words, "moved.path=here.csv", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "killed" / "run" / "metrics.json").is_file()
