"""What a file to be scored must be: the same that the contract asks of records, said with the row."""

import logging
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import polars as pl

from fraudlab.bundle.contract import Names, computed, fewest_known, served
from fraudlab.bundle.runtime import Bundle
from fraudlab.errors import UserError

log = logging.getLogger(__name__)
_MOST_NAMED = 20  # columns that a message names
_PAST = (
    " Features of the past are computed with history=<history>, of what python -m fraudlab.history and a server keep, "
    "or with history=input, of the file's own earlier rows."
)


def check_names(bundle: Bundle, source: str, header: Sequence[str], *, history: bool) -> None:
    """Refuse a file whose columns are not the bundle's; say which optional ones it lacks.

    With a history the features of the past are looked up.
    """
    schema = served(bundle.schema, bundle.features, history=history)
    past = set(computed(bundle.features))
    fields = {field["name"]: field for field in schema["fields"]}
    lacking = [name for name in fields if name not in header]
    others = [name for name in header if name not in fields]
    names = Names(lacking)
    wrong = [f"{name} (did you mean {near}?)" for name in others if (near := names.near(name)) is not None]
    if wrong:
        raise UserError(f"input={source} has other column names than the bundle: {_some(wrong)}; rename them")
    where = f"it has: {_some(header)}"
    if required := [name for name in lacking if fields[name]["required"]]:
        hint = _PAST if past.intersection(required) else ""
        near_ones = dict.fromkeys(n for name in required for n in get_close_matches(name, others, 1, 0.75))
        hint = f" Did you mean {_some(list(near_ones))}?{hint}" if near_ones else hint
        raise UserError(f"input={source} lacks the columns {_some(required)}; {where}.{hint}")
    if past and not history and past.isdisjoint(header):
        raise UserError(f"input={source} has none of the bundle's history features, such as {min(past)}.{_PAST}")
    looked_up = past if history else ()
    wanted = [name for name, field in fields.items() if field["role"] != "id" and name not in looked_up]
    read = [name for name in wanted if name in header]
    if 2 * len(read) < len(wanted):
        raise UserError(
            f"input={source} has {len(read)} of the bundle's {len(wanted)} columns ({_some(wanted)}); {where}"
        )
    if unread := [name for name in wanted if name in lacking]:
        log.warning("%s has no column %s: counted as missing values", source, _some(unread))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST_NAMED]) + (
        f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    )


class RowCheck:
    """Refuses rows that the contract refuses as records, and gives the others the types of the contract."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._fields = bundle.schema["fields"]

    def __call__(self, rows: pl.DataFrame, start: int) -> pl.DataFrame:
        """The rows with numbers in 64 bits, integers as such.

        Args:
            rows: as read, with all fields of the contract.
            start: number of rows before them.

        Raises:
            UserError: a value breaks the contract; the message names the first such row.
        """
        made = [self._typed(rows[field["name"]], field["type"], start) for field in self._fields]
        typed = rows.with_columns(made)
        wrong = {}
        for name in self._bundle.never_missing:
            wrong[f"{self._told(name)} has no value, and every training row had one"] = ~_known(name, typed)
        for field in self._fields:
            name, value = field["name"], pl.col(field["name"])
            if field["required"] and name not in self._bundle.never_missing:
                wrong[f"{name} has no value, and it is required"] = ~_known(name, typed)
            for limit, breaks in (("minimum", value.__lt__), ("maximum", value.__gt__)):
                if field[limit] is not None:
                    wrong[f"{name} is beyond its {limit}, {field[limit]}"] = breaks(field[limit])
        least = self._bundle.schema["least_known"]
        known = pl.sum_horizontal(pl.lit(0), *(pl.col(name).is_not_null() for name in self._bundle.inputs))
        wrong[f"it has fewer than half of the {least} values that every training row had"] = known < fewest_known(
            self._bundle.schema
        )
        found = typed.select(breaks.fill_null(False).alias(says) for says, breaks in wrong.items())
        self._refuse_first({says: found[says] for says in wrong}, start)
        return typed

    def _told(self, name: str) -> str:
        """A column as the file has it: one that ``data.derive`` makes is told by what it is made of."""
        sources = self._bundle.reading.sources(name)
        return sources[0] if len(sources) == 1 else f"{name} (made of {', '.join(sources)})"

    def _refuse_first(self, wrong: Mapping[str, pl.Series], start: int) -> None:
        places = {says: int(rows.arg_max() or 0) for says, rows in wrong.items() if rows.any()}
        if places:
            says = min(places, key=lambda each: places[each])
            count = wrong[says].sum()
            more = f" (and so in {count - 1} of the next {len(wrong[says])} rows)" if count > 1 else ""
            raise UserError(f"row {start + places[says] + 1}: {says}{more}; correct these rows or remove them")

    def _typed(self, column: pl.Series, kind: str, start: int) -> pl.Series:
        if kind not in ("integer", "number") or not column.dtype.is_numeric():
            return column
        if kind == "number":
            return column.cast(pl.Float64)
        made = column.cast(pl.Int64, strict=False)
        wrong = (made.cast(column.dtype, strict=False) != column).fill_null(True) & column.is_not_null()
        if not wrong.any():
            return made
        place = int(wrong.arg_max() or 0)
        raise UserError(
            f"row {start + place + 1}: {column.name} is {column[place]}, which is not a 64-bit integer; correct it"
        )


def _known(name: str, rows: pl.DataFrame) -> pl.Expr:
    value = pl.col(name)
    return value.is_finite().fill_null(False) if rows.schema[name].is_float() else value.is_not_null()
