"""Which windows a backtest tests, and what each step is: checked on the table before any training begins."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from fraudlab.config import BacktestConfig, TrainConfig
from fraudlab.config.commands import PathsConfig
from fraudlab.data.prepared import PreparedTable, prepared_table
from fraudlab.data.sources.contract import Source
from fraudlab.data.splits.contract import RowSplit, Window
from fraudlab.data.splits.known import days_of
from fraudlab.data.splits.registry import SPLITS, OneClassError, split_rows
from fraudlab.errors import UserError
from fraudlab.features import registry
from fraudlab.files import write_text
from fraudlab.models.registry import MODELS, models_that
from fraudlab.runs.settings import config_yaml, load_config
from fraudlab.schema import TableSchema
from fraudlab.training.checks import check_settings

_SETTINGS, _DATA = "backtest.yaml", "data_fingerprint"
_MAY_DIFFER = ("jobs", "resamples")  # of two commands that go on with one backtest


@dataclass(frozen=True)
class Step:
    """One window that is tested.

    Attributes:
        number: from 0 on.
        start, stop: its first day and the day after its last, as settings write days.
        split: settings of the split that is tested on it.
    """

    number: int
    start: str
    stop: str
    split: Any


@dataclass(frozen=True)
class Backtest:
    """A backtest in its folder: what its processes share.

    Attributes:
        config: of the command.
        steps: in order of time.
        folder: gets ``steps/<first day>/`` and all the rest.
        facts: what ``run.json`` of every step records of the command.
        label_times: whether the table says when labels became known.
    """

    config: BacktestConfig
    steps: Sequence[Step]
    folder: Path
    facts: Mapping[str, Any]
    label_times: bool

    @property
    def policy(self) -> str:
        return self.config.backtest.policy

    def run(self, step: Step) -> Path:
        """Folder of the run that is tested at ``step``."""
        return self.folder / "steps" / step.start

    def model(self, step: Step) -> Path:
        """Folder of the run that was fitted for ``step``: of a frozen ensemble a member."""
        return self.folder / "models" / step.start if self.policy == "frozen" else self.run(step)

    def settings(self, step: Step, folder: Path) -> TrainConfig:
        """Settings of the run of ``step`` in ``folder``, from its ``config.yaml``, which is written if need be."""
        path = folder / "config.yaml"
        if not path.is_file():
            own = {field.name: getattr(self.config, field.name) for field in fields(TrainConfig)}
            own |= {"split": step.split, "published": None}  # whose protocol is another week's
            own["trainer"] = {**(self.config.trainer or {}), "enable_progress_bar": False}
            write_text(path, config_yaml(TrainConfig(**own)))
        settings: TrainConfig = load_config(path)
        return replace(settings, paths=PathsConfig(self.config.paths.data_dir, str(folder)))

    def table(self, source: Source, config: TrainConfig) -> PreparedTable:
        """The table of a run: features that learn limits learn them on its own training rows."""
        data_dir = Path(config.paths.data_dir)
        return prepared_table(source, config.features, config.label_delay_days, data_dir, config.split)


def check(config: BacktestConfig, given: Sequence[str]) -> None:
    """Refuse settings that no table makes possible, before one is read.

    Args:
        config: of the command.
        given: the command's overrides.

    Raises:
        UserError: settings contradict each other, the split has no time, or the model cannot do what the policy asks.
    """
    check_settings(config, given)
    if str((config.trainer or {}).get("devices")) not in ("1", "None"):
        raise UserError("each step of a backtest is one process; use trainer.devices=1, and backtest.jobs for several")
    part = MODELS[config.model.name]
    if config.backtest.policy == "warm" and part.kind == "estimator":
        able = models_that(lambda part: part.kind == "network")
        raise UserError(
            f"backtest.policy=warm: model={config.model.name} cannot start from the previous model; use {able}, or "
            "backtest.policy=fresh, frozen or none"
        )
    if SPLITS[config.split.name].moved is None:
        able = " or ".join(f"split={each}" for each in SPLITS if SPLITS[each].moved is not None)
        raise UserError(f"split={config.split.name} cannot be moved through time; a backtest needs {able}")


def begin(config: BacktestConfig, source: Source, facts: Mapping[str, Any]) -> Backtest:
    """Lay out the steps, check each of them, and hold a backtest that goes on to its settings.

    Args:
        config: of the command, which :func:`check` let pass.
        source: the table.
        facts: what ``run.json`` of every step records of the command.

    Raises:
        UserError: the data have no room for the steps, a step leaks or has no fraud, features learn a limit, or the
            folder holds a backtest with other settings.
    """
    schema = source.schema
    if config.backtest.policy in ("frozen", "none") and _learns(config, schema):
        raise UserError(
            f"backtest.policy={config.backtest.policy}: a learnt limit of features differs between steps, but a "
            "run has one; write the limit as a number, or use backtest.policy=fresh, which also evaluates a model "
            "trained once"
        )
    if schema.time is None:
        raise UserError("a backtest needs a time column: name one (data.time=...)")
    names = [name for name in (schema.label, schema.time, schema.card, schema.label_time) if name is not None]
    columns = source.frame.select(list(dict.fromkeys(names))).collect()
    folder = Path(config.paths.output_dir)
    quiet = logging.getLogger("fraudlab.data.splits")  # which tells of each split how many labels come too late
    before = quiet.level
    quiet.setLevel(logging.WARNING)
    try:
        steps = _steps(config, schema, columns)
    finally:
        quiet.setLevel(before)
    _hold(config, steps, source.data_fingerprint, folder)
    return Backtest(config, steps, folder, facts, schema.label_time is not None)


def _learns(config: BacktestConfig, schema: TableSchema) -> bool:
    """Whether features have limits that training rows tell, which are others in each step."""
    made = registry.make(registry.settings_of(config.features, config.label_delay_days), schema)
    return bool(getattr(made, "to_learn", None))


def _steps(config: BacktestConfig, schema: TableSchema, columns: pl.DataFrame) -> list[Step]:
    asked, named = config.backtest, schema.time
    move = SPLITS[config.split.name].moved
    assert named is not None
    assert move is not None

    def rows(settings: Any) -> RowSplit:
        label, time, card, told = (
            columns[each] if each else None for each in (schema.label, schema.time, schema.card, schema.label_time)
        )
        assert label is not None
        return split_rows(settings, config.label_delay_days, label, time, card, told)

    day = days_of(columns[named])
    dates = columns[named].dtype.is_temporal()
    window = Window(0, 0, int(day[0]), dates, asked.policy == "fresh")
    last = int(day[-1]) + 1
    if asked.until is None:
        until = int(day[rows(config.split).test[-1]]) + 1
    else:
        until = window.number(asked.until, "backtest.until")
        if until > last:
            raise UserError(f"backtest.until={asked.until}: the data end on {window.named(last - 1)}")
    steps: list[Step] = []
    for number in reversed(range(asked.steps)):
        stop = until - (asked.steps - 1 - number) * asked.step_days
        window = replace(window, start=stop - asked.step_days, stop=stop)
        try:
            settings = move(config.split, config.label_delay_days, window)
            rows(settings)
        except UserError as error:
            raise _no_step(error, asked.steps, len(steps), window) from error
        steps.insert(0, Step(number, window.named(window.start), window.named(window.stop), settings))
    return steps


def _no_step(error: UserError, steps: int, fit: int, window: Window) -> UserError:
    tested = f"step {steps - fit} of {steps}, tested on {window.named(window.start)} to {window.named(window.stop - 1)}"
    ways = [f"backtest.steps={fit} tests the later ones alone"] if fit else []
    if isinstance(error, OneClassError):
        ways.append(f"longer steps are backtest.step_days={2 * (window.stop - window.start)}")
    return UserError("\n".join([f"{tested}: {error}", *(["; ".join(ways)] if ways else [])]))


def _hold(config: BacktestConfig, steps: Sequence[Step], data: str, folder: Path) -> None:
    """Write settings and fingerprint of the data of a backtest that begins; refuse others where a step is trained."""
    text = config_yaml(config)
    plain = yaml.safe_load(text)
    plain["windows"] = [[step.start, step.stop] for step in steps]
    plain[_DATA] = data
    path = folder / _SETTINGS
    begun = [run for kind in ("steps", "models") for run in folder.glob(f"{kind}/*")]
    if path.is_file() and any((run / "run.json").is_file() for run in begun):
        before = yaml.safe_load(path.read_text(encoding="utf-8"))
        if before.setdefault(_DATA, data) != data:  # which an earlier version did not write
            raise UserError(
                f"the data of the backtest in {folder} have changed since it began (fingerprint {before[_DATA]}, now "
                f"{data}); put them back, or give this one another name, backtest.name=<name>"
            )
        now, then = (_flat({**each, "backtest": _settled(each["backtest"])}) for each in (plain, before))
        differing = [key for key in dict.fromkeys([*then, *now]) if then.get(key) != now.get(key)]
        if differing:
            said = ", ".join(f"{key}: {then.get(key)}, now {now.get(key)}" for key in differing[:5])
            raise UserError(
                f"{folder} already holds a backtest with other settings ({said}); give this one another name, "
                "backtest.name=<name>, or remove that folder"
            )
        return
    for run in begun:  # of settings that were refused before any training
        (run / "config.yaml").unlink(missing_ok=True)
    write_text(path, yaml.safe_dump(plain, sort_keys=False))


def _settled(backtest: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in backtest.items() if key not in _MAY_DIFFER}


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= _flat(inner, f"{prefix}{key}.") if isinstance(inner, Mapping) else {f"{prefix}{key}": inner}
    return flat
