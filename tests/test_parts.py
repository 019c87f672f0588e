"""The families of exchangeable parts keep one grammar: nothing general knows one part by its name or class."""

import ast
from collections import Counter
from collections.abc import Iterator

import pytest

from fraudlab import config
from fraudlab.config.registry import Registry
from fraudlab.data.sources.registry import SOURCES
from fraudlab.data.splits.registry import SPLITS
from fraudlab.errors import UserError
from fraudlab.features.registry import FEATURES
from fraudlab.models.registry import MODELS
from fraudlab.training.losses.registry import LOSSES
from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "fraudlab"
FAMILIES: dict[str, Registry] = {registry.group: registry for registry in (SOURCES, FEATURES, SPLITS, MODELS, LOSSES)}
OF_MODELS = {type_.__name__ for type_ in config.SCHEMAS["model"].values()} | {"TabNet", "MLP", "TabM"}
# Where a model may be named: in its folder, in the table of models, in the dataclasses that its YAML has.
HOMES = (
    "models/tabnet/",
    "models/mlp/",
    "models/tabm/",
    "models/boosting/",
    "models/linear/",
    "models/registry.py",
    "config/",
    "sklearn/",  # whose estimators are of one model by their names
)
PROVENANCE = "runs/provenance.py"  # names packages whose versions a run records


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def docstrings(tree: ast.AST) -> set[int]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    bodies = (node.body for node in ast.walk(tree) if isinstance(node, kinds))
    strings = (statement.value for body in bodies for statement in body if isinstance(statement, ast.Expr))
    return {id(string) for string in strings}


def names(tree: ast.AST) -> Iterator[str]:
    """Identifiers, imported modules and strings of a module's code, without its docstrings."""
    told = docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node.value


def test_no_model_is_named_outside_its_folder() -> None:
    whole = set(config.SCHEMAS["model"]) | OF_MODELS
    found = [
        f"{where}: {name}"
        for where, tree in modules()
        if not where.startswith(HOMES) and where != PROVENANCE
        for name in names(tree)
        if name in whole or "tabnet" in name.lower() or set(name.split(".")) & set(config.SCHEMAS["model"])
    ]
    assert not found


def test_nothing_asks_isinstance_of_one_part() -> None:
    parts = {type_.__name__ for options in config.SCHEMAS.values() for type_ in options.values()}
    found = [
        f"{where}:{call.lineno}"
        for where, tree in modules()
        if not where.startswith("models/tabnet/")
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
        if call.func.id in ("isinstance", "issubclass")
        if parts & set(names(call.args[1])) or "BoostingConfig" in names(call.args[1])
    ]
    assert not found


def test_a_network_takes_three_files_outside_its_folder() -> None:
    """Its dataclass, its line in the table of models, its YAML: nothing else in the repository names ``mlp``."""
    naming = [where for where, tree in modules() if "mlp" in set(names(tree)) and not where.startswith("models/mlp/")]
    assert naming == ["config/model.py", "models/registry.py"]
    assert (REPOSITORY / "conf" / "model" / "mlp.yaml").is_file()


@pytest.mark.parametrize("group", sorted(FAMILIES))
def test_every_option_is_a_part_and_every_part_an_option(group: str) -> None:
    assert list(FAMILIES[group]) == list(config.SCHEMAS[group])
    for name in FAMILIES[group]:
        assert FAMILIES[group][name] is not None


@pytest.mark.parametrize("group", sorted(FAMILIES))
def test_a_name_that_no_part_has_is_refused(group: str) -> None:
    with pytest.raises(UserError, match=rf"{group}=mine is not known; there are: .*plugins=\["):
        FAMILIES[group]["mine"]


@pytest.mark.parametrize("family", ["data/sources", "data/splits", "features", "models", "training/losses", "metrics"])
def test_every_family_has_a_contract_and_a_registry(family: str) -> None:
    for name in ("contract.py", "registry.py"):
        assert (PACKAGE / family / name).is_file()


def test_what_several_packages_speak_of_has_one_class_each() -> None:
    count = Counter(
        node.name
        for _, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    spoken_of = ("Batch", "Split", "Progress", "Groups", "Plot", "Model", "Encoder", "Features", "Network", "Run")
    assert [name for name in spoken_of if count[name] > 1] == []
