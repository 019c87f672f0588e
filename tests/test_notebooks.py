"""The notebooks run by this interpreter, and the site's pages of them show what they say."""

import importlib.util
import resource
from pathlib import Path

import jupytext
import pytest

from tests.conftest import REPOSITORY

_spec = importlib.util.spec_from_file_location("build", REPOSITORY / "notebooks" / "build.py")
assert _spec is not None
assert _spec.loader is not None
build = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(build)
NotebookClient = build.NotebookClient  # by whose name tests/conftest.py knows that this module starts processes

NOTEBOOKS = build.notebooks()
FAST = {"01_first_model", "02_your_own_table"}  # what a reader meets first; make test-slow runs the others


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all of them work, so that they share simulated tables."""
    return tmp_path_factory.mktemp("notebooks")


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=[] if path.stem in FAST else [pytest.mark.slow]) for path in NOTEBOOKS],
)
def test_every_cell_runs_in_a_minute_of_cpu_and_the_last_one_asserts(path: Path, folder: Path) -> None:
    before = _cpu()
    done = build.executed(path, folder)
    assert _cpu() - before < 60
    code = [cell for cell in done.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    assert "assert " in code[-1].source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_page_is_of_its_present_text(path: Path) -> None:
    page = (build.PAGES / f"{path.stem}.md").read_text(encoding="utf-8")
    for cell in jupytext.read(path).cells:
        _, found, page = page.partition(build.source(cell))
        assert found, f"run: make notebooks ARGS={path.stem}"
