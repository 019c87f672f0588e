"""What ``sweeps/<name>.yaml`` says: space, fixed settings, metric, sampler, pruner, budget."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from fraudlab.config import SweepConfig
from fraudlab.config.commands import PathsConfig
from fraudlab.config.overrides import Value, literal, override
from fraudlab.errors import UserError
from fraudlab.tuning.space import Space, one_choice, read_space

CURVE = "val.average_precision"
"""The metric whose curve a trial reports while it trains."""
SAMPLERS = ("tpe", "gp", "cmaes", "random", "qmc")
PRUNERS = ("hyperband", "median", "none")


@dataclass(frozen=True)
class Metric:
    """A metric of ``metrics.json``, e.g. ``val.average_precision``, and whether more of it is better."""

    name: str
    direction: str = "maximize"  # or minimize


@dataclass(frozen=True)
class Definition:
    """A search.

    Attributes:
        name: of the study.
        space: what varies.
        fixed: settings of every trial, as on the command line.
        metrics: one, or several to trade off.
        sampler, pruner: name and options.
        trials: how many, over all processes.
        jobs: trials at once in one process; 0 for one a core.
        finalists: so many of the best are run again over ``seeds``.
        seeds: of the finalists; without train's own, 0, that trials have unless told.
        start: points of the space that are tried first.
        storage: address; None for SQLite in the sweep's folder.
        data_dir: ``paths.data_dir`` of every trial, unless ``fixed`` names one.
    """

    name: str
    space: Space
    fixed: tuple[str, ...]
    metrics: tuple[Metric, ...]
    sampler: Mapping[str, Any]
    pruner: Mapping[str, Any]
    trials: int
    jobs: int
    finalists: int
    seeds: tuple[int, ...]
    start: tuple[Mapping[str, Value], ...] = field(default=())
    storage: str | None = None
    data_dir: str = PathsConfig.data_dir

    def overrides(self, drawn: Mapping[str, Value]) -> list[str]:
        """The settings of a trial, as on the command line."""
        where = [] if self.data_dir == PathsConfig.data_dir else [literal("paths.data_dir", self.data_dir)]
        return [*where, *self.fixed, *(override(key, value) for key, value in drawn.items())]

    def identity(self) -> dict[str, Any]:
        """What makes two trials comparable: one study holds trials of one identity."""
        return {
            "space": self.space.plain(),
            "fixed": list(self.fixed),
            "metrics": [[metric.name, metric.direction] for metric in self.metrics],
        }


def sweeps_dir() -> Path:
    """The folder of searches that come with fraudlab: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).parents[1]
    checkout = package.parent / "sweeps"
    return checkout if checkout.is_dir() else package / "sweeps"


def load_definition(config: SweepConfig) -> Definition:
    """The search that a command asks for.

    Raises:
        UserError: there is no such file, or it says what no search can be.
    """
    path = _find(config.sweep)
    read = _read(path)
    plugins = (f"plugins=[{','.join(config.plugins)}]",) if config.plugins else ()
    read = replace(read, data_dir=config.paths.data_dir, fixed=(*plugins, *read.fixed))
    given = {
        "name": config.study,
        "storage": config.storage,
        "trials": config.trials,
        "jobs": config.jobs,
        "finalists": config.finalists,
        "seeds": None if config.seeds is None else tuple(config.seeds),
        "fixed": (*read.fixed, *config.fixed) if config.fixed else None,
        "sampler": None if config.sampler is None else _choice("sampler", config.sampler, SAMPLERS, "sampler"),
        "pruner": None if config.pruner is None else _choice("pruner", config.pruner, PRUNERS, "pruner"),
    }
    changed = replace(read, **{key: value for key, value in given.items() if value is not None})  # type: ignore[arg-type]
    _check_together(changed, str(path))
    return changed


def _find(name: str) -> Path:
    if name.endswith((".yaml", ".yml")):
        if not Path(name).is_file():
            raise UserError(f"sweep={name}: this file does not exist")
        return Path(name)
    folders = [Path("sweeps"), sweeps_dir()]
    for folder in folders:
        if (folder / f"{name}.yaml").is_file():
            return folder / f"{name}.yaml"
    known = sorted({file.stem for folder in folders for file in folder.glob("*.yaml")})
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise UserError(f"sweep={name} does not exist; there are: {', '.join(known)}, or a path ending in .yaml.{hint}")


def _read(path: Path) -> Definition:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {error}") from error
    where = str(path)
    known = [*(f.name for f in fields(Definition) if f.name not in ("name", "data_dir"))]
    if not isinstance(raw, Mapping) or "space" not in raw:
        raise UserError(f"{where} must have a space; see docs/sweeps.md")
    for key in raw:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1) or known
            raise UserError(f"{where}: {key} is not a setting of a sweep; did you mean {', '.join(near)}?")
    space = read_space(raw["space"], where)
    return Definition(
        name=path.stem,
        space=space,
        fixed=tuple(_fixed(raw.get("fixed", []), where)),
        metrics=_metrics(raw.get("metrics", [CURVE]), where),
        sampler=_choice("sampler", raw.get("sampler", "tpe"), SAMPLERS, where),
        pruner=_choice("pruner", raw.get("pruner", "none"), PRUNERS, where),
        trials=_whole(raw, "trials", 30, 1, where),
        jobs=_whole(raw, "jobs", 0, 0, where),
        finalists=_whole(raw, "finalists", 3, 0, where),
        seeds=_seeds(raw.get("seeds", [1, 2, 3]), where),
        start=tuple(_start(raw.get("start", []), space, where)),
        storage=raw.get("storage"),
    )


def _whole(raw: Mapping[str, Any], key: str, default: int, least: int, where: str) -> int:
    value = raw.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UserError(f"{where}: {key}={value} must be a whole number of at least {least}")
    return value


def _seeds(given: Any, where: str) -> tuple[int, ...]:
    if not isinstance(given, list) or not given or not all(isinstance(seed, int) and seed >= 0 for seed in given):
        raise UserError(f"{where}: seeds={given} must be a list of whole numbers, as in [0, 1, 2]")
    return tuple(given)


def _fixed(given: Any, where: str) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(item, str) and "=" in item for item in given):
        raise UserError(f"{where}: fixed must be a list of settings as on the command line, as in [batch_size=512]")
    return given


def _metrics(given: Any, where: str) -> tuple[Metric, ...]:
    metrics = []
    for item in given if isinstance(given, list) else [given]:
        name, direction = next(iter(item.items())) if isinstance(item, Mapping) and len(item) == 1 else (item, None)
        if not isinstance(name, str) or direction not in (None, "maximize", "minimize"):
            raise UserError(f"{where}: metrics is a list such as [val.average_precision, val.log_loss: minimize]")
        if name.split(".")[0] not in ("val", "train"):
            raise UserError(f"{where}: metric {name} must be val.* or train.*: a search never sees the test window")
        metrics.append(Metric(name, direction or "maximize"))
    return tuple(metrics)


def _choice(key: str, given: Any, options: tuple[str, ...], where: str) -> dict[str, Any]:
    settings = {"name": given} if isinstance(given, str) or given is None else dict(given)
    name = settings.get("name") or "none"
    if name not in options:
        raise UserError(f"{where}: {key}={name} does not exist; it is one of: {', '.join(options)}")
    return {**settings, "name": name}


def _start(given: Any, space: Space, where: str) -> list[dict[str, Value]]:
    points = []
    for raw in given:
        point = {str(key): one_choice(value, f"{where}: start {key}") for key, value in raw.items()}
        for key, value in point.items():
            if key not in space.keys:
                raise UserError(f"{where}: start names {key}, which is not in the space")
            if value not in space[key]:
                raise UserError(f"{where}: start has {override(key, value)}, which is outside the space")
        points.append(point)
    return points


def _check_together(definition: Definition, where: str) -> None:
    if definition.pruner["name"] != "none" and [metric.name for metric in definition.metrics] != [CURVE]:
        raise UserError(
            f"{where}: pruner={definition.pruner['name']} needs {CURVE} as its only metric, whose curve is what trials "
            "report; use pruner=none"
        )
    if len(definition.metrics) > 1 and definition.sampler["name"] == "cmaes":
        raise UserError(f"{where}: sampler=cmaes optimises one metric only; use sampler=tpe for several")
