"""The space of a search: which settings vary, within what, and under which condition."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fraudlab.config.overrides import Value, text
from fraudlab.errors import UserError

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution

_KINDS = ("float", "int", "choice")


@dataclass(frozen=True)
class Setting:
    """One setting that varies.

    Attributes:
        key: as on the command line, e.g. ``optimizer.lr``.
        kind: ``float``, ``int`` or ``choice``.
        low, high: bounds, both included; None of a choice.
        log: drawn evenly on a logarithmic scale.
        step: only ``low``, ``low + step``, ...; None for any value.
        choices: what a choice is among.
        when: values of other settings, named before it, for which this one is drawn at all.
    """

    key: str
    kind: str
    low: float | int | None = None
    high: float | int | None = None
    log: bool = False
    step: float | int | None = None
    choices: tuple[Value, ...] = ()
    when: Mapping[str, tuple[Value, ...]] | None = None

    def applies(self, drawn: Mapping[str, Value]) -> bool:
        """Whether the condition holds for what is drawn already."""
        return all(key in drawn and drawn[key] in values for key, values in (self.when or {}).items())

    def corners(self) -> list[Value]:
        """The bounds, or every choice."""
        if self.kind == "choice":
            return list(self.choices)
        assert self.low is not None
        return [self.low, self.last()]

    def last(self) -> float | int:
        """The highest value that can be drawn."""
        assert self.low is not None
        assert self.high is not None
        if self.step is None:
            return self.high
        return self.low + math.floor((self.high - self.low) / self.step + 1e-9) * self.step

    def __contains__(self, value: Value) -> bool:
        if self.kind == "choice":
            return value in self.choices
        return isinstance(value, (int, float)) and self.low <= value <= self.high  # type: ignore[operator]

    def distribution(self) -> "BaseDistribution":
        """Optuna's."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.kind == "choice":
            return CategoricalDistribution(self.choices)
        assert self.low is not None
        if self.kind == "int":
            return IntDistribution(int(self.low), int(self.last()), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.last(), log=self.log, step=self.step)


@dataclass(frozen=True)
class Space:
    """All settings that vary, in the order in which they are drawn."""

    settings: tuple[Setting, ...]

    def __iter__(self) -> Iterator[Setting]:
        return iter(self.settings)

    def __getitem__(self, key: str) -> Setting:
        return next(setting for setting in self.settings if setting.key == key)

    @property
    def keys(self) -> list[str]:
        return [setting.key for setting in self.settings]

    def draw(self, trial: "Trial") -> dict[str, Value]:
        """A point of the space, as the trial's sampler chooses it."""
        drawn: dict[str, Value] = {}
        for setting in self:
            if not setting.applies(drawn):
                continue
            if setting.kind == "choice":
                drawn[setting.key] = trial.suggest_categorical(setting.key, setting.choices)
                continue
            assert setting.low is not None
            if setting.kind == "int":
                low, high = int(setting.low), int(setting.last())
                drawn[setting.key] = trial.suggest_int(
                    setting.key, low, high, step=int(setting.step or 1), log=setting.log
                )
            else:
                drawn[setting.key] = trial.suggest_float(
                    setting.key, setting.low, setting.last(), step=setting.step, log=setting.log
                )
        return drawn

    def corners(self) -> list[dict[str, Value]]:
        """Points in which every bound and every choice occurs; few, not all combinations."""
        points = []
        rounds = max(len(setting.corners()) for setting in self)
        for turn in range(rounds):
            point: dict[str, Value] = {}
            for setting in self:
                if setting.applies(point):
                    corners = setting.corners()
                    point[setting.key] = corners[turn % len(corners)]
            points.append(point)
        for setting in self:
            for corner in setting.corners():
                if not any(point.get(setting.key, ...) == corner for point in points):
                    points.append(self._reaching(setting, corner))
        return points

    def _reaching(self, wanted: Setting, value: Value) -> dict[str, Value]:
        """A point in which ``wanted`` has ``value``, if conditions let it be drawn at all."""
        forced: dict[str, Value] = {wanted.key: value}
        needed = [wanted]
        while needed:
            for key, values in (needed.pop().when or {}).items():
                forced.setdefault(key, values[0])
                needed.append(self[key])
        point: dict[str, Value] = {}
        for setting in self:
            if setting.applies(point):
                point[setting.key] = forced.get(setting.key, setting.corners()[0])
        return point

    def plain(self) -> list[dict[str, Any]]:
        """As JSON, to tell one space from another."""
        return [
            {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(setting).items()}
            for setting in self
        ]


def read_space(raw: Any, where: str) -> Space:
    """The space of a file.

    Args:
        raw: setting -> ``{float: [low, high], log: true}``, ``{int: [low, high], step: 2}`` or ``{choice: [...]}``,
            each with ``when: {<setting>: <value or list>}`` if it applies only then.
        where: the file, for messages.

    Raises:
        UserError: it says something else.
    """
    if not isinstance(raw, Mapping) or not raw:
        raise UserError(f"{where}: space must name settings, such as  optimizer.lr: {{float: [0.001, 0.1], log: true}}")
    settings: list[Setting] = []
    for key, given in raw.items():
        settings.append(_setting(str(key), given, settings, where))
    return Space(tuple(settings))


def _setting(key: str, given: Any, before: Sequence[Setting], where: str) -> Setting:
    at = f"{where}: space.{key}"
    if not isinstance(given, Mapping) or len(kinds := [kind for kind in _KINDS if kind in given]) != 1:
        raise UserError(f"{at}={given} must have exactly one of float: [low, high], int: [low, high], choice: [...]")
    kind = kinds[0]
    allowed = {kind, "when"} | (set() if kind == "choice" else {"log", "step"})
    if unknown := sorted(set(given) - allowed):
        raise UserError(f"{at} has {', '.join(unknown)}; besides {kind} it may have: {', '.join(sorted(allowed))}")
    when = _when(given.get("when"), before, at)
    if kind == "choice":
        return Setting(key, kind, choices=_choices(given[kind], at), when=when)
    bounds = given[kind]
    if not isinstance(bounds, list) or len(bounds) != 2:
        raise UserError(f"{at}: {kind} takes two bounds, as in {kind}: [1, 8]; this is {bounds}")
    for bound in bounds:
        _number(bound, kind, f"{at}: bound {bound!r}")
    low, high = bounds
    log, step = given.get("log", False), given.get("step")
    if not isinstance(log, bool):
        raise UserError(f"{at}: log is true or false, not {log!r}")
    if low > high:
        raise UserError(f"{at}: the lower bound {low} is above the upper one {high}; write {kind}: [{high}, {low}]")
    if log and low <= 0:
        raise UserError(f"{at}: a logarithmic scale needs a lower bound above 0, not {low}")
    if step is not None:
        _number(step, kind, f"{at}: step {step!r}")
        if step <= 0 or log:
            raise UserError(f"{at}: step {step} must be above 0, and cannot be combined with log")
    if kind == "float":
        low, high = float(low), float(high)
    return Setting(key, kind, low, high, log, step, when=when)


def _number(value: Any, kind: str, what: str) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not (whole or (kind == "float" and isinstance(value, float) and math.isfinite(value))):
        hint = " (YAML reads 1e-3 as text; write 1.0e-3 or 0.001)" if isinstance(value, str) else ""
        raise UserError(f"{what} must be {'a whole number' if kind == 'int' else 'a number'}{hint}")


def _choices(given: Any, at: str) -> tuple[Value, ...]:
    if not isinstance(given, list) or not given:
        raise UserError(f"{at}: choice takes a list of one or more values, as in choice: [relu, gelu]")
    choices = [one_choice(value, at) for value in given]
    if len(set(map(text, choices))) < len(choices):
        raise UserError(f"{at}: a value occurs twice in {given}")
    return tuple(choices)


def one_choice(value: Any, at: str) -> Value:
    """A value that YAML gave; a list as the command line has it, since studies keep plain values only."""
    if isinstance(value, list):  # e.g. the widths of layers
        return "[" + ",".join(text(item) for item in value) + "]"
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise UserError(f"{at}: a choice is a number, a word, true, false, null or a list of these, not {value}")


def _when(given: Any, before: Sequence[Setting], at: str) -> dict[str, tuple[Value, ...]] | None:
    if given is None:
        return None
    known = {setting.key: setting for setting in before}
    if not isinstance(given, Mapping):
        raise UserError(f"{at}: when takes a setting and its values, as in when: {{model.mask_type: entmax}}")
    conditions = {}
    for key, values in given.items():
        if key not in known:
            raise UserError(f"{at}: when names {key}, which must come before it in the space")
        values = _choices(values if isinstance(values, list) else [values], f"{at}: when {key}")
        if wrong := [value for value in values if value not in known[key]]:
            raise UserError(f"{at}: when {key}={text(wrong[0])} never applies: {key} cannot take that value")
        conditions[key] = values
    return conditions
