"""A resumed run keeps its own settings and data, and says what to type where that cannot be."""

from dataclasses import replace
from pathlib import Path

import pytest

from fraudlab.config import TrainConfig
from fraudlab.config.commands import PathsConfig
from fraudlab.errors import UserError
from fraudlab.runs.folder import RunFolder
from fraudlab.runs.settings import config_yaml
from fraudlab.training import resume
from tests.support.configs import settings


def begun(folder: Path) -> tuple[RunFolder, TrainConfig]:
    """A run begun in ``folder``, and what a later command to go on with it composes."""
    logger = {"csv": {"save_dir": str(folder)}}
    own = replace(settings(), seed=5, trainer={"max_epochs": 3, "devices": 2}, logger=logger)
    own.paths = PathsConfig(data_dir="elsewhere", output_dir=str(folder))
    run = RunFolder.start(folder, config_yaml(own))
    resume.begin(run, {"data_fingerprint": "f", "data_dir": "/elsewhere", "experiment": "mine"}, resumed=False)
    return run, replace(settings(), resume=str(folder), trainer={"max_epochs": 80, "devices": 1})


def test_settings_are_the_runs_own_but_for_the_machine(tmp_path: Path) -> None:
    run, command = begun(tmp_path / "run")
    _, resumed = resume.settings(command, "train", ["resume=run"])
    assert (resumed.seed, resumed.trainer["devices"], resumed.paths.data_dir) == (5, 2, "/elsewhere")
    assert resumed.logger["csv"]["save_dir"] == resumed.paths.output_dir == str(run.path)
    command.paths.data_dir = "here"
    _, resumed = resume.settings(command, "train", ["resume=run", "trainer.devices=1", "paths.data_dir=here"])
    assert resumed.trainer == {"max_epochs": 3, "devices": 1}
    assert resumed.paths.data_dir == "here"


def test_a_moved_run_writes_where_it_is(tmp_path: Path) -> None:
    run, command = begun(tmp_path / "run")
    moved = run.path.rename(tmp_path / "moved")
    _, resumed = resume.settings(replace(command, resume=str(moved)), "train", [])
    assert resumed.logger["csv"]["save_dir"] == str(moved)


@pytest.mark.parametrize("override", ["model=mlp", "+trainer.max_epochs=3", "~callbacks.ema", "trainer=ddp"])
def test_other_settings_are_refused(tmp_path: Path, override: str) -> None:
    _, command = begun(tmp_path / "run")
    with pytest.raises(UserError, match="keeps its own settings: leave out .*, or resume= for a new run"):
        resume.settings(command, "train", ["resume=run", override])


def test_a_run_of_another_version_or_command_is_refused(tmp_path: Path) -> None:
    run, command = begun(tmp_path / "run")
    with pytest.raises(UserError, match="that this version of fraudlab.pretrain can read"):
        resume.settings(command, "pretrain", [])
    run.config_path.write_text(run.config_path.read_text() + "gone: 1\n")
    with pytest.raises(UserError, match="that this version of fraudlab.train can read.*gone"):
        resume.settings(command, "train", [])


def test_changed_data_are_refused_and_a_changed_machine_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run, _ = begun(tmp_path / "run")
    with pytest.raises(UserError, match="data of the run .* have changed since it began"):
        resume.begin(run, {"data_fingerprint": "g"}, resumed=True)
    run.write_provenance({**run.provenance(), "split_rows": {"train": 9, "test": 3}})
    with pytest.raises(UserError, match="the same files now give .*'test': 2.*reads them otherwise"):
        resume.begin(run, {"data_fingerprint": "f", "split_rows": {"train": 9, "test": 2}}, resumed=True)
    run.write_provenance({**run.provenance(), "threads": 1000})
    for times in (1, 2):
        facts = resume.begin(run, {"data_fingerprint": "f", "experiment": "other"}, resumed=True)
        assert (facts["experiment"], facts["resumed"]) == ("mine", times)
    assert caplog.text.count("other threads than when the run began") == 1
