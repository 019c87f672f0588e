"""What ``features=history`` is to compute: its settings, held against the columns of a table."""

import difflib
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fraudlab.config.aggregates import (
    ALL,
    CATEGORY,
    CLOCK,
    HALF_LIVES,
    LONGEST_HALF_LIFE,
    NUMBER,
    OF_LABELS,
    ONCE,
    ROLES,
    length,
)
from fraudlab.errors import UserError
from fraudlab.features.live import DAY
from fraudlab.schema import Column, TableSchema

_ENTRY = ("aggregate", "windows", "where", "keys", "name", "as", "own", "empty")
_OPERATORS = ("<=", ">=", "==", "!=", "<", ">")
LEARNT = "learnt"
_WHERE = re.compile(
    rf"\s*(\S+)\s*({'|'.join(_OPERATORS)})\s*({LEARNT}|[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*"
)


@dataclass(frozen=True)
class Condition:
    """Rows of the past that count: those whose number in ``column`` compares so with ``limit``; None: to be learnt."""

    column: str
    operator: str
    limit: float | None

    @property
    def text(self) -> str:
        """As it is written, but for the limit."""
        return f"{self.column} {self.operator}"


@dataclass(frozen=True)
class Aggregate:
    """One feature.

    Attributes:
        name: of the feature.
        key: whose past; empty: of the row alone.
        of: ``count``, ``time``, ``label`` or a column's name.
        what: the aggregate, ``count`` for the number of rows.
        window: its length in microseconds, of ``decayed`` the half-life; None: all the past.
        where: rows that count; None: all.
        own: the present row counts, too.
        empty: what stands where there is no value; None: it is missing.
    """

    name: str
    key: str
    of: str
    what: str
    window: int | None
    where: Condition | None = None
    own: bool = False
    empty: float | None = None

    @property
    def of_labels(self) -> bool:
        """Whether it rests on labels of earlier rows."""
        return self.of == "label" or self.what in OF_LABELS

    @property
    def reach(self) -> int | None:
        """How far back it looks, in microseconds; None: without limit."""
        return self.window * HALF_LIVES if self.what == "decayed" and self.window else self.window


@dataclass(frozen=True)
class Definition:
    """The features, and what they are made of.

    Attributes:
        keys: columns of each key, by the key's name.
        aggregates: the features in order.
        numbers: columns whose numbers are aggregated.
        categories: columns whose values are told apart.
        time: the column of the time.
        decimals: numbers are rounded to so many, so that sums are exact.
        prior: weight of the share of frauds among all rows in a rate of frauds, in rows.
        delay: age at which a label is known, in microseconds.
    """

    keys: Mapping[str, tuple[str, ...]]
    aggregates: tuple[Aggregate, ...]
    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    time: str
    decimals: int
    prior: float
    delay: int

    @property
    def reads_labels(self) -> bool:
        return any(aggregate.of_labels for aggregate in self.aggregates)

    @property
    def reach(self) -> int | None:
        """How far back features look, in microseconds; None: without limit."""
        windows = [aggregate.reach for aggregate in self.aggregates if aggregate.key]
        longest = None if None in windows else max((w for w in windows if w is not None), default=0)
        return None if longest is None else longest + self.delay * self.reads_labels

    @property
    def to_learn(self) -> tuple[Condition, ...]:
        """Conditions whose limit is not known."""
        found = (aggregate.where for aggregate in self.aggregates)
        return tuple(dict.fromkeys(where for where in found if where is not None and where.limit is None))

    def of(self, key: str) -> tuple[Aggregate, ...]:
        """The features of one key; of the row alone for an empty name."""
        return tuple(aggregate for aggregate in self.aggregates if aggregate.key == key)

    def only(self, key: str) -> "Definition":
        """What one key's features need."""
        own = self.of(key)
        used = {a.of for a in own} | {a.where.column for a in own if a.where is not None}
        numbers, categories = (
            tuple(name for name in names if name in used) for names in (self.numbers, self.categories)
        )
        return replace(self, keys={key: self.keys[key]}, aggregates=own, numbers=numbers, categories=categories)


def define(settings: Mapping[str, Any], schema: TableSchema) -> Definition:
    """The definition that settings stand for: ``keys windows of decimals prior delay_days``.

    Raises:
        UserError: a key, column, window or aggregate does not exist, or labels are asked for without a delay.
    """
    if schema.time is None:
        raise UserError(
            f"features=history needs the time of each row, and data={schema.name} has none: data.time=…; or use "
            "features=columns for the table's own columns alone"
        )
    keys = {name: tuple(columns) for name, columns in settings["keys"].items()}
    for name, columns in keys.items():
        if not columns:
            raise UserError(f"features.keys.{name} names no column; write features.keys={{{name}: [column]}}")
        for column in columns:
            if _column(schema, column, f"features.keys.{name}").type == "datetime":
                raise UserError(f"features.keys.{name}: {_dated(column)}")
    aggregates: list[Aggregate] = []
    for of, items in settings["of"].items():
        if not items and of != "count":
            raise UserError(f"features.of.{of} names no aggregate; write e.g. features.of={{{of}: [{_first(of)}]}}")
        for item in items or ["count"]:
            aggregates += _aggregates(settings, keys, of, item)
    if not aggregates:
        raise UserError("features.of names no aggregate; write e.g. features.of={count: [], amount: [mean]}")
    names = [aggregate.name for aggregate in aggregates]
    if twice := sorted({name for name in names if names.count(name) > 1} | {*names}.intersection(_names(schema))):
        raise UserError(f"features.of gives {', '.join(twice)} twice, or as a column of the table; name another")
    limits = settings.get("limits") or {}
    aggregates = [_resolved(aggregate, schema, limits) for aggregate in aggregates]
    if any(aggregate.of_labels for aggregate in aggregates) and not (settings["delay_days"] or schema.label_time):
        label = next(aggregate for aggregate in aggregates if aggregate.of_labels)
        raise UserError(
            f"{label.name} rests on labels, and they are known at once: say after how many days a label is known, "
            "label_delay_days=7, or name the column that has the moment, data.label_time=…"
        )
    if any(a.what in CLOCK for a in aggregates) and _column(schema, schema.time, "data.time").type != "datetime":
        raise UserError(f"features.of.time: {schema.time} counts seconds from no known day, so it has no hour")
    numbers = [a.of for a in aggregates if a.what in NUMBER and a.of not in ROLES]
    numbers += [a.where.column for a in aggregates if a.where is not None]
    for name in numbers:
        if _column(schema, name, "features.of").type not in ("integer", "number", "boolean"):
            raise UserError(f"features.of.{name}: {name} holds no numbers; of it there are {', '.join(CATEGORY)}")
    for name in (categories := list(dict.fromkeys(a.of for a in aggregates if a.what in CATEGORY))):
        if _column(schema, name, "features.of").type == "datetime":
            raise UserError(f"features.of.{name}: {_dated(name)}")
    return Definition(
        keys,
        tuple(aggregates),
        tuple(dict.fromkeys(numbers)),
        tuple(categories),
        schema.time,
        settings["decimals"],
        settings["prior"],
        settings["delay_days"] * DAY,
    )


def _aggregates(settings: Mapping[str, Any], keys: Mapping[str, Sequence[str]], of: str, item: Any) -> list[Aggregate]:
    """What one entry under ``features.of`` stands for: an aggregate of each key and window."""
    where = f"features.of.{of}"
    if not isinstance(item, str | Mapping):
        raise UserError(f"{where}: {item} is no aggregate; write features.of={{{of}: [{_first(of)}]}}")
    entry = {"aggregate": item} if isinstance(item, str) else {str(name): value for name, value in item.items()}
    if wrong := sorted(entry.keys() - {*_ENTRY}):
        raise UserError(f"{where}: {wrong[0]} is unknown; an entry has {', '.join(_ENTRY)}")
    for name in ("windows", "keys"):
        if not isinstance(entry.get(name, []), list | tuple):
            raise UserError(f"{where}: {name} is a list; write {name}: [{entry[name]}]")
    what = str(entry.get("aggregate", "count"))
    known = ROLES.get(of, (*NUMBER, *CATEGORY))
    if what not in known:
        raise UserError(f"{where}: there is no aggregate {what}{near(what, known)}; there are {', '.join(known)}")
    whole_name = entry.get("as")
    if what in CLOCK:
        return [Aggregate(str(whole_name or f"time_{what}"), "", of, what, None)]
    chosen = [str(key) for key in entry.get("keys", keys)]
    if not chosen:
        raise UserError("features.keys names no key: whose past is meant? Write e.g. features.keys={card: [card_id]}")
    for key in chosen:
        if key not in keys:
            raise UserError(f"{where}: there is no key {key}{near(key, keys)}; features.keys has {', '.join(keys)}")
    windows = [str(window) for window in entry.get("windows", settings["windows"])]
    if not windows:
        raise UserError("features.windows is empty; write e.g. features.windows=[1d,7d,30d]")
    lengths = {window: length(window) for window in windows}
    if len(set(lengths.values())) < len(windows):
        raise UserError(f"features.windows names a window twice: {', '.join(windows)}")
    most = LONGEST_HALF_LIFE * DAY
    if what == "decayed" and any(reach is None or reach > most for reach in lengths.values()):
        raise UserError(
            f"{where}: decayed takes windows for half-lives, of {LONGEST_HALF_LIFE:,} days at most; "
            "write {aggregate: decayed, windows: [7d]}"
        )
    condition = None if entry.get("where") is None else _condition(where, entry["where"])
    title = str(entry.get("name", f"{what}_where" if condition else what))
    parts = [title] if of == "count" else [of, title]
    if what in ONCE:
        windows = [ALL if ALL in lengths else max(lengths, key=lambda window: lengths[window] or 0)]
    made = []
    for key, window in itertools.product(chosen, windows):
        name = "_".join([key, *parts, *([] if what in ONCE else [window])])
        if whole_name is not None:
            name = _named(where, str(whole_name), key, window)
        made.append(Aggregate(name, key, of, what, lengths[window], condition, *_exceptions(where, entry, of, what)))
    return made


def _named(where: str, form: str, key: str, window: str) -> str:
    """The name that ``as`` says."""
    days = "all" if (reach := length(window)) is None else f"{reach / DAY:g}"
    try:
        return form.format(key=key, window=window, days=days)
    except (LookupError, ValueError, AttributeError) as error:
        raise UserError(f"{where}: as: {form} cannot be read; it may hold {{key}}, {{window}} and {{days}}") from error


def _exceptions(where: str, entry: Mapping[str, Any], of: str, what: str) -> tuple[bool, float | None]:
    """``own`` and ``empty`` of an entry."""
    own, empty = entry.get("own", False), entry.get("empty")
    if not isinstance(own, bool):
        raise UserError(f"{where}: own: {own} must be true or false")
    if own and (what in (*ONCE, *OF_LABELS) or of == "label"):
        raise UserError(f"{where}: own: the present row has no part in {what}; it counts in sums, means, shares alone")
    if isinstance(empty, bool) or not (empty is None or isinstance(empty, int | float)):
        raise UserError(f"{where}: empty: {empty} is no number; it stands where there is no value, empty: 0")
    return own, None if empty is None else float(empty)


def _first(of: str) -> str:
    return next(iter(ROLES.get(of, ("mean",))))


def _condition(where: str, text: str) -> Condition:
    if (found := _WHERE.fullmatch(str(text))) is None:
        raise UserError(f"{where}: where: {text} cannot be read; write it as 'amount < 220', with {_OPERATORS}")
    if found[3] != LEARNT:
        return Condition(found[1], found[2], float(found[3]))
    if found[2] in ("==", "!="):
        raise UserError(f"{where}: where: {text}: what is learnt is a limit; write < or >")
    return Condition(found[1], found[2], None)


def _resolved(aggregate: Aggregate, schema: TableSchema, limits: Mapping[str, float]) -> Aggregate:
    """The aggregate with the amount's column where it says ``amount``, and with the limit that was learnt."""

    def column(name: str) -> str:
        name = schema.amount if name == "amount" and schema.amount and name not in _names(schema) else name
        return _column(schema, name, "features.of").name

    of = aggregate.of if aggregate.of in ROLES else column(aggregate.of)
    where = aggregate.where
    if where is not None:
        where = replace(where, column=column(where.column))
        where = replace(where, limit=limits.get(where.text)) if where.limit is None else where
    return replace(aggregate, of=of, where=where)


def _column(schema: TableSchema, name: str, where: str) -> Column:
    for column in schema.columns:
        if column.name == name:
            if column.role in ("label", "label_time"):
                raise UserError(f"{where}: {name} is the label; aggregates of it stand under features.of.label")
            return column
    others = near(name, _names(schema)) or "; use features=columns for the table's own columns alone"
    raise UserError(f"{where} names {name}, which data={schema.name} has not{others}")


def _names(schema: TableSchema) -> list[str]:
    return [column.name for column in schema.columns]


def _dated(name: str) -> str:
    return (
        f"values of {name} are dates and times, which a record writes otherwise; make text or a number of them, "
        f"data.derive.{name}_day=\"STRFTIME({name}, '%Y-%m-%d')\", and name that"
    )


def near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""
