"""The definition of ``features=history`` that settings stand for, held against the columns of a table."""

import difflib
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fraudlab.config.aggregates import (
    ALL,
    CATEGORY,
    CLOCK,
    LONGEST_HALF_LIFE,
    NUMBER,
    OF_LABELS,
    ONCE,
    PER_TIME,
    PLACES,
    ROLES,
    is_window,
    length,
)
from fraudlab.errors import UserError
from fraudlab.features.history.definition import Aggregate, Condition, Definition, basis
from fraudlab.features.live import DAY
from fraudlab.schema import Column, TableSchema

_ENTRY = ("aggregate", "windows", "over", "where", "keys", "name", "as", "own", "empty", "longitude")
_OPERATORS = ("<=", ">=", "==", "!=", "<", ">")
LEARNT = "learnt"
RATIO = "ratio"
_WHERE = re.compile(
    rf"\s*(\S+)\s*({'|'.join(_OPERATORS)})\s*({LEARNT}|[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*"
)


def define(settings: Mapping[str, Any], schema: TableSchema) -> Definition:
    """The definition that settings stand for: ``keys windows of decimals prior delay_days``.

    Raises:
        UserError: a key, column, window or aggregate does not exist.
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
    by_name = {aggregate.name: aggregate for aggregate in aggregates}
    aggregates = [_divided(aggregate, by_name) for aggregate in aggregates]
    limits = settings.get("limits") or {}
    aggregates = [_resolved(aggregate, schema, limits) for aggregate in aggregates]
    if any(a.what in CLOCK for a in aggregates) and _column(schema, schema.time, "data.time").type != "datetime":
        raise UserError(f"features.of.time: {schema.time} counts seconds from no known day, so it has no hour")
    made_of = basis(aggregates)
    numbers = [a.of for a in made_of if a.what in NUMBER and a.of not in ROLES]
    numbers += [a.longitude for a in made_of if a.longitude]
    numbers += [a.where.column for a in made_of if a.where is not None]
    for name in numbers:
        if _column(schema, name, "features.of").type not in ("integer", "number", "boolean"):
            raise UserError(f"features.of.{name}: {name} holds no numbers; of it there are {', '.join(CATEGORY)}")
    for name in (categories := list(dict.fromkeys(a.of for a in made_of if a.what in CATEGORY))):
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
    longitude = str(entry.get("longitude", ""))
    if (what in PLACES) != bool(longitude):
        raise UserError(
            f"{where}: {what}: a distance and a speed stand under the column of latitudes and name that of longitudes; "
            "write {aggregate: distance, longitude: <column>}"
        )
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
    over = None if entry.get("over") is None else str(entry["over"])
    longer = length(over) if over is not None and is_window(over) else 0
    if what == "decayed" and any(reach is None or reach > most for reach in (*lengths.values(), longer)):
        raise UserError(
            f"{where}: decayed takes windows for half-lives, of {LONGEST_HALF_LIFE:,} days at most; "
            "write {aggregate: decayed, windows: [7d]}"
        )
    condition = None if entry.get("where") is None else _condition(where, entry["where"])
    title = str(entry.get("name", f"{what}_where" if condition else what))
    parts = [title] if of == "count" else [of, title]
    if what in ONCE:
        windows = [ALL if ALL in lengths else max(lengths, key=lambda window: lengths[window] or 0)]
    own, empty = _exceptions(where, entry, of, what)
    if over is not None and longer != 0:
        windows = [window for window in windows if _shorter(lengths[window], longer)]
        if not windows or what in ONCE:
            raise UserError(f"{where}: over: {over} must be longer than a window of {what}; write windows: [1d]")
        if longer is None and what in PER_TIME:
            raise UserError(f"{where}: over: {ALL} has no length, so there is no {what} a day; write over: 30d")
    made = []
    for key, window in itertools.product(chosen, windows):
        name = "_".join([key, *parts, *([] if what in ONCE else [window])])
        found = Aggregate(name, key, of, what, lengths[window], condition, own, empty, longitude)
        if over is not None:
            terms, factor = [replace(found, empty=None)], 1.0
            if longer != 0:
                terms.append(replace(terms[0], name="_".join([key, *parts, over]), window=longer))
                factor = longer / (lengths[window] or 1) if what in PER_TIME and longer else 1.0
            name = f"{name}_over_{over}"
            found = Aggregate(name, key, over, RATIO, None, empty=empty, terms=tuple(terms), factor=factor)
        if whole_name is not None:
            found = replace(found, name=_named(where, str(whole_name), key, window))
        made.append(found)
    return made


def _shorter(window: int | None, other: int | None) -> bool:
    return window is not None and (other is None or window < other)


def _divided(ratio: Aggregate, by_name: Mapping[str, Aggregate]) -> Aggregate:
    """The ratio with the feature that ``over`` names as its second term; other aggregates as they are."""
    if len(ratio.terms) != 1:
        return ratio
    by = by_name.get(f"{ratio.key}_{ratio.of}") or by_name.get(ratio.of)
    if by is None or by.key != ratio.key or by.terms:
        of_key = [a.name.removeprefix(f"{ratio.key}_") for a in by_name.values() if a.key == ratio.key and not a.terms]
        raise UserError(
            f"{ratio.name}: over: {ratio.of} is no window and no feature of key {ratio.key}{near(ratio.of, of_key)}; "
            "write over: 30d, or the name of another feature under features.of without its key"
        )
    return replace(ratio, terms=(*ratio.terms, by))


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

    if aggregate.terms:
        return replace(aggregate, terms=tuple(_resolved(term, schema, limits) for term in aggregate.terms))
    of = aggregate.of if aggregate.of in ROLES else column(aggregate.of)
    longitude = aggregate.longitude and column(aggregate.longitude)
    where = aggregate.where
    if where is not None:
        where = replace(where, column=column(where.column))
        where = replace(where, limit=limits.get(where.text)) if where.limit is None else where
    return replace(aggregate, of=of, where=where, longitude=longitude)


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
