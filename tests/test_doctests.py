"""The examples in docstrings run, and all that is public has one."""

import doctest
import importlib
import shutil
from pathlib import Path

import pytest

from tests.conftest import FORMAT_1, REPOSITORY
from tests.support.docs import api_reference

PACKAGE = REPOSITORY / "fraudlab"
MODULES = [
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the examples read: a table, two finished runs and a bundle, as an earlier version wrote them."""
    made = tmp_path_factory.mktemp("doctests")
    shutil.copy(FORMAT_1 / "table.csv", made / "transactions.csv")
    first, second = (
        shutil.copytree(FORMAT_1 / "tabnet", made / "outputs" / "train" / name) for name in ("first", "second")
    )
    (second / "config.yaml").write_text((second / "config.yaml").read_text().replace("n_steps: 2", "n_steps: 3"))
    shutil.copytree(FORMAT_1 / "bundle_with_masks", first / "bundle")
    return made


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_a_module_run(module: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    found = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert found.attempted > 0
    assert found.failed == 0  # what differs is printed


@pytest.mark.parametrize("module", api_reference.MODULES)
def test_all_that_is_public_has_an_example(module: str) -> None:
    offered = importlib.import_module(module)
    finder = doctest.DocTestFinder()
    without = [
        name
        for name in offered.__all__
        if not any(test.examples for test in finder.find(getattr(offered, name), name, offered))
    ]
    assert without == []
