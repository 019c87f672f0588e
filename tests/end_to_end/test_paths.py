"""A folder's name is a name: no character of it is taken for a pattern, a setting or a word of the shell."""

import ast
from pathlib import Path

import polars as pl
import pytest

from fraudlab.config.overrides import literal
from fraudlab.runs.comparison import find_runs
from fraudlab.runs.folder import RunFolder
from tests.conftest import REPOSITORY, Command
from tests.support.tables import write_table

NAMES = ("run[1]", "a=b, (c) {d}", 'it\'s "é" *?', "tab\there $x & !")
READERS = {"read_parquet", "scan_parquet", "read_csv", "scan_csv", "scan_ipc"}


def test_every_file_is_read_by_its_name() -> None:
    for file in sorted((REPOSITORY / "fraudlab").rglob("*.py")):
        for call in ast.walk(ast.parse(file.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in READERS:
                assert "glob" in {keyword.arg for keyword in call.keywords}, f"{file}:{call.lineno}"


@pytest.mark.parametrize("name", NAMES)
def test_runs_in_any_folder_are_found_and_read(tmp_path: Path, name: str) -> None:
    written = pl.DataFrame({"label": [0, 1], "score": [0.25, 0.75]})
    for number in "ab":
        run = RunFolder.start(tmp_path / name / number, "seed: 0\n")
        run.metrics_path.write_text("{}")
        run.write_predictions("test", written)
    found = find_runs([str(tmp_path / name)])
    assert [run.path.name for run in found] == ["a", "b"]
    assert all(run.predictions("test").select(written.columns).equals(written) for run in found)


def test_a_run_in_a_folder_of_any_name_is_trained_evaluated_exported_and_used(command: Command, tmp_path: Path) -> None:
    work = tmp_path / "my [1] (work), a=é 'b'"
    work.mkdir()
    table, run, bundle, out = work / "t [2].csv", work / "o{1}/run[1]=,", work / "bundle*", work / "scores[1].csv"
    write_table(table)
    own = ("data=table", "data.label=fraud", "data.time=time", "features=columns", "split=time_fraction")
    quick = ("experiment=none", "model=mlp", "model.hidden=[4]", "trainer.max_epochs=1", "batch_size=32")
    where = (literal("data.path", table), literal("hydra.run.dir", run))
    done = command("train", *own, *quick, "trainer.enable_progress_bar=false", *where, cwd=work)
    assert done.returncode == 0, done.stderr
    assert (run / "report.html").is_file()
    for name, words in (
        ("train", [literal("resume", run)]),
        ("evaluate", [literal("run", run)]),
        ("export", [literal("run", run), literal("out", bundle)]),
        ("predict", [literal("bundle", bundle), literal("input", table), literal("output", out)]),
    ):
        done = command(name, *words, cwd=work)
        assert done.returncode == 0, (name, done.stderr)
    assert pl.read_csv(out, glob=False).height == 600
