"""The run folder refuses to be begun twice or read half-done, and its config reads back as it was."""

import dataclasses
from pathlib import Path

import polars as pl
import pytest

from fraudlab import config
from fraudlab.errors import UserError
from fraudlab.runs.folder import RunFolder, rank
from fraudlab.runs.provenance import peak_memory_bytes
from fraudlab.runs.settings import config_yaml, load_config
from tests.support.configs import settings


@pytest.mark.parametrize("model", [config.TabNetConfig(n_d=4), config.MLPConfig(hidden=[3])])
def test_a_config_reads_back_as_it_was(tmp_path: Path, model: object) -> None:
    run = RunFolder.start(tmp_path / "run", config_yaml(settings(model)))
    assert dataclasses.replace(load_config(run.config_path), paths=settings().paths) == settings(model)


def test_a_foreign_config_is_refused(tmp_path: Path) -> None:
    for text, says in (
        ("data: {name: gone}", "data=gone is not known"),
        ("[", "is not the config of a run"),
        ("data: 1", "is not a config that this version"),
    ):
        (tmp_path / "config.yaml").write_text(text)
        with pytest.raises(UserError, match=says):
            load_config(tmp_path / "config.yaml")


def test_a_run_is_found_when_finished_and_not_begun_again(tmp_path: Path) -> None:
    RunFolder.start(tmp_path / "run", "a: 1\n")
    run = RunFolder.start(tmp_path / "run", "a: 2\n")  # the first failed before its fit began
    assert run.config_path.read_text() == "a: 2\n"
    with pytest.raises(UserError, match="did not finish"):
        RunFolder.find(tmp_path / "run")
    run.metrics_path.write_text('{"val": {"roc_auc": 0.5}}')
    assert RunFolder.find(tmp_path / "run").metrics() == {"val": {"roc_auc": 0.5}}
    with pytest.raises(UserError, match="already holds a run"):
        RunFolder.start(tmp_path / "run", "a: 3\n")
    with pytest.raises(UserError, match="is not a run folder"):
        RunFolder.find(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "left", ["fit.json", "checkpoints/last.ckpt", "selection/fit.json", "selection/checkpoints/best.ckpt"]
)
def test_what_another_fit_left_is_not_taken_over(tmp_path: Path, left: str) -> None:
    (tmp_path / left).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / left).write_text("{}")
    with pytest.raises(UserError, match=r"did not finish; .*resume=.* continues it, hydra.run.dir="):
        RunFolder.start(tmp_path, "a: 1\n")


def test_a_folder_in_which_a_fit_left_nothing_to_go_on_with_is_taken_again(tmp_path: Path) -> None:
    for left in ("encoder", "selection/encoder", "checkpoints"):
        (tmp_path / left).mkdir(parents=True)
    (tmp_path / "run.json").write_text("{}")
    assert RunFolder.start(tmp_path, "a: 1\n").config_path.read_text() == "a: 1\n"


def test_other_processes_of_a_run_join_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RunFolder.start(tmp_path / "run", "a: 1\n")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert rank() == 1
    assert RunFolder.start(tmp_path / "run", "a: 1\n").config_path.is_file()


def test_predictions_and_provenance_are_written_whole(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_predictions("val", pl.DataFrame({"score": [0.5]}))
    assert run.predictions("val")["score"].to_list() == [0.5]
    run.write_provenance({"seed": 3})
    assert '"seed": 3' in (tmp_path / "run.json").read_text()
    assert peak_memory_bytes() > 2**20
