"""Records and files to be scored, read as the table was that the model learnt from."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fraudlab.config.data import SECONDS
from fraudlab.errors import UserError
from fraudlab.features.live import WrongField
from fraudlab.features.values import RawColumns, Spelling
from fraudlab.schema import Column, Reading, TableSchema

if TYPE_CHECKING:  # a record without derived columns is read without it
    import polars as pl

    from fraudlab.data.sources.table.derive import Time
    from fraudlab.features.history.rows import TimeReading

_START = datetime(1970, 1, 1)


class InputReading:
    """Makes the table's columns of the raw ones that a record or a file has.

    Args:
        fields: the input contract, ``schema.json``'s ``fields``.
        schema: the table's columns, and how they were made; a bundle of old does not know how.
    """

    def __init__(self, fields: Sequence[Mapping[str, Any]], schema: TableSchema) -> None:
        own = schema.reading is not None
        self._reading = schema.reading or Reading(
            tuple(
                Column(f["name"], f["type"], "carried", missing_values=tuple(f.get("missing_values") or ()))
                for f in fields
            )
        )
        self.raw = RawColumns(self._reading.raw, Spelling(**self._reading.spelling), stripped=own)
        self._plain = not own and not any(column.missing_values for column in self._reading.raw)
        self._types = {column.name: column.type for column in self._reading.raw}
        self._roles = {column.name: column.role for column in schema.columns}
        self._final = {column.name: column.type for column in schema.columns}
        self._made = [name for name in self._reading.derive if self._roles.get(name) not in (None, "label")]
        self.layout = self._reading.layout

    def of_record(self, record: Mapping[str, Any]) -> Mapping[str, Any]:
        """The columns of a record.

        Raises:
            UserError: a value is no number where one belongs, or an expression of ``data.derive`` fails.
        """
        if self._plain:
            return record
        read = self.raw.of_record(record)
        if not self._made:
            return read
        import polars as pl

        one = {name: read.get(name) for name in {**self._types, **read}}
        rows = pl.DataFrame({n: [v] for n, v in one.items()}, schema_overrides=_dtypes(self._types, one), strict=False)
        if (unread := self.unread_time(rows.schema)) is not None and rows.select(unread[1]).item():
            raise UserError(f"column {unread[0]}: {one[unread[0]]!r} {self.no_time}")
        try:
            return self.derived(rows.lazy()).collect().row(0, named=True)
        except pl.exceptions.PolarsError as error:
            from fraudlab.data.sources.table.derive import failed

            own = failed(rows.lazy(), self._reading.derive, self._clock)
            raise own or UserError(f"data.derive: {error}") from error

    def value(self, record: Mapping[str, Any], name: str) -> Any:
        """What :meth:`of_record` has of one column; the others are not made where they need not be."""
        if self._plain:
            return record.get(name)
        own = record if name in self._made else {name: record[name]} if name in record else {}
        return (self.of_record(own) if name in self._made else self.raw.of_record(own)).get(name)

    def sources(self, name: str) -> list[str]:
        """The raw columns that a column of the table is made of, which a record or a file has to have for it."""
        if name not in self._made:
            return [name]
        from fraudlab.data.sources.table.derive import read_by

        return sorted(read_by(self._reading.derive, [name]) & {*self._types}) or [name]

    def of_rows(self, rows: "pl.LazyFrame") -> "pl.LazyFrame":
        """The columns of a file's rows, some of whose raw columns may be missing."""
        return self.derived(self._raw_rows(rows)) if self._made else self.raw.of_rows(rows)

    def _raw_rows(self, rows: "pl.LazyFrame") -> "pl.LazyFrame":
        """The raw columns in their types, all of them."""
        import polars as pl

        rows = self.raw.of_rows(rows)
        have = rows.collect_schema()
        lacking = {name: kind for name, kind in self._types.items() if name not in have}
        return rows.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in _dtypes(lacking, {}).items())

    def of_table(self, rows: "pl.LazyFrame") -> "pl.LazyFrame":
        """:meth:`of_rows` with the times as the table has them: in microseconds, or a number of seconds."""
        return self.with_times(self.of_rows(rows))

    def with_times(self, rows: "pl.LazyFrame") -> "pl.LazyFrame":
        """What :meth:`of_rows` gave, with the times and a label of words as the table has them."""
        import polars as pl

        from fraudlab.data.sources.table.label_words import Labels
        from fraudlab.data.sources.table.time_format import TimeFormat

        types = rows.collect_schema()
        read = {
            "time": TimeFormat(**self._reading.time),
            "label_time": TimeFormat(**(self._reading.label_time or {"zone": self._reading.time.get("zone")})),
        }
        times = {
            n: read[role] for n, role in self._roles.items() if role in read and n in types and n not in self._made
        }
        label = next((n for n, role in self._roles.items() if role == "label" and n in types), None)
        told = []
        if label is not None and self._reading.label and types[label] != pl.Boolean:
            told = [Labels(**self._reading.label).of_file(label, types[label]).alias(label)]
        made = [form.values(pl.col(name), types[name]).alias(name) for name, form in times.items()]
        return rows.with_columns(*made, *told)

    def with_time(self, record: Mapping[str, Any]) -> Mapping[str, Any]:
        """A record's columns with the time as a date and time where its form is the table's own: 31.01.2024, 20240131.

        Raises:
            WrongField: it is no time.
        """
        if self._clock is None or (value := record.get(self._clock.column)) is None or self._is_plain(value):
            return record
        (moment,) = self._moments([value])
        if moment is None:
            raise WrongField(self._clock.column, f"is {value!r}, which {self.no_time}")
        return {**record, self._clock.column: moment.replace(tzinfo=UTC)}

    def times_of(self, values: Sequence[Any]) -> list[str | None]:
        """Values of the time in ISO 8601, in UTC where their zone is known.

        None for what is no time of the years 1 to 9999, and for a number that counts from an unknown day.
        """
        found: list[str | None] = [None] * len(values)
        # Most numbers need no look at the clock, for which Polars is loaded.
        counts = (self._reading.time.get("unit") or "seconds") in SECONDS
        none = (type(None), int, float) if counts else (type(None),)
        given = [place for place, value in enumerate(values) if not isinstance(value, none)]
        if not given or self._clock is None:
            return found
        other = []
        for place in given:
            value = values[place]
            if isinstance(value, str):
                value = value.replace("/", "-")  # as ISO 8601 has it: Polars takes milliseconds for one with slashes
            if not self._is_plain(value):
                other.append(place)
            elif isinstance(value, str) and self._clock.form.zone is None:
                found[place] = value
            else:
                with suppress(WrongField, OverflowError):
                    micro = self._plain_time.moment(self._clock.column, value)
                    found[place] = (_START + timedelta(microseconds=micro)).isoformat()
        for place, moment in zip(other, self._moments([values[place] for place in other]), strict=True):
            found[place] = None if moment is None else moment.isoformat()
        return found

    def _is_plain(self, value: Any) -> bool:
        """Whether what reads times anyway reads it: text in ISO 8601, a date and time, a number of a usual unit."""
        from fraudlab.data.sources.table.time_format import DIGITS, ISO

        assert self._clock is not None
        form = self._clock.form
        if isinstance(value, str):
            return form.format in (None, ISO) and _is_iso(value)
        return not isinstance(value, int | float) or form.unit not in {*DIGITS, "nanoseconds", "excel"}

    def _moments(self, values: Sequence[Any]) -> list[datetime | None]:
        """The times in UTC if their zone is known, else as they are written; None as in :meth:`times_of`."""
        import polars as pl

        assert self._clock is not None
        form = self._clock.form
        found: list[datetime | None] = [None] * len(values)
        for kind, dtype in ((str, pl.String()), (int, pl.Int64()), (float, pl.Float64())):
            places = [place for place, value in enumerate(values) if type(value) is kind]
            if not places:
                continue
            given = pl.Series("time", [values[place] for place in places], dtype, strict=False)
            read = form.values(pl.col("time"), dtype)
            dated = pl.when(read.is_between(datetime.min, datetime.max)).then(read)  # what Python's calendar has
            for place, moment in zip(places, given.to_frame().select(dated).to_series(), strict=True):
                found[place] = moment
        return found

    @cached_property
    def _plain_time(self) -> "TimeReading":
        """Reads what :meth:`_is_plain`, as a history does."""
        from fraudlab.features.history.rows import TimeReading

        return TimeReading.of(self._reading.time)

    @cached_property
    def _clock(self) -> "Time | None":
        """The time, where it is a raw column; bundles of old do not say how it is read."""
        from fraudlab.data.sources.table.derive import Time
        from fraudlab.data.sources.table.time_format import TimeFormat

        name = next((name for name, role in self._roles.items() if role == "time"), None)
        if name is None or name in self._reading.derive:
            return None
        return Time(name, TimeFormat(**self._reading.time))

    @cached_property
    def _reads_time(self) -> bool:
        """Whether an expression reads the time as such."""
        from fraudlab.data.sources.table.derive import of_time

        return self._clock is not None and bool(of_time(self._expressions, self._clock))

    def unread_time(self, types: "Mapping[str, pl.DataType]") -> "tuple[str, pl.Expr] | None":
        """The time's column, and whether a row has a value there that is no time, if an expression reads it as one."""
        import polars as pl

        clock = self._clock
        if clock is None or not self._reads_time or clock.column not in types:
            return None
        given = self.raw.values(clock.column, types[clock.column]).alias(clock.column)
        dtype = pl.LazyFrame(schema={clock.column: types[clock.column]}).select(given).collect_schema()[clock.column]
        moment = clock.form.local(given, dtype)
        return None if moment is None else (clock.column, given.is_not_null() & moment.is_null())

    @property
    def no_time(self) -> str:
        """Says of a value that it is no time, and how one is written."""
        from fraudlab.data.sources.table.time_format import ISO, written

        form = self._reading.time.get("format")
        own = "" if form in (None, ISO) else f"{written(form)} as in the training table, or "
        return f"is not a time; write it {own}year first, as 2024-01-31T14:30:00"

    def failed(self, rows: "pl.LazyFrame") -> UserError | None:
        """What of ``data.derive`` cannot be made of raw rows, if that is why they cannot be read."""
        from fraudlab.data.sources.table.derive import failed

        return failed(self._raw_rows(rows), self._expressions, self._clock) if self._made else None

    @cached_property
    def _expressions(self) -> dict[str, str]:
        """The expressions of ``data.derive`` that scores rest on, those that they read among them."""
        from fraudlab.data.sources.table.derive import read_by

        needed = {*self._made, *read_by(self._reading.derive, self._made)}
        return {name: text for name, text in self._reading.derive.items() if name in needed}

    def derived(self, rows: "pl.LazyFrame") -> "pl.LazyFrame":
        """The rows with the columns that ``data.derive`` makes, in the types that the table has them in."""
        import polars as pl

        from fraudlab.data.sources.table.columns import value_of
        from fraudlab.data.sources.table.derive import derived
        from fraudlab.data.sources.table.time_format import TimeFormat

        rows = derived(rows, self._expressions, self._clock)
        types = rows.collect_schema()
        time = TimeFormat(**self._reading.time)
        made = {n: value_of(n, types[n], self._roles[n], self.raw.spelling, time) for n in self._made}
        rows = rows.with_columns(value.alias(name) for name, value in made.items())
        numbers = [name for name in self._made if self._final[name] in ("integer", "number")]
        dtypes = {"integer": pl.Int64(), "number": pl.Float64()}
        return rows.with_columns(pl.col(n).cast(dtypes[self._final[n]], strict=False) for n in numbers)


def _dtypes(kinds: Mapping[str, str], values: Mapping[str, Any]) -> "dict[str, pl.DataType]":
    """The types of raw columns in a frame; a list or an object of a record keeps its own."""
    import polars as pl

    types = {"integer": pl.Int64(), "number": pl.Float64(), "boolean": pl.Boolean()}
    plain = {n: kind for n, kind in kinds.items() if not isinstance(values.get(n), list | dict)}
    return {name: types.get(kind, pl.String()) for name, kind in plain.items()}


def _is_iso(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _whole(value: float) -> float:
    return int(value) if value.is_integer() else value


def _real(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return value  # said in words where it is encoded


CASTS: dict[str, tuple[type, Callable[[Any], float]]] = {"integer": (float, _whole), "number": (int, _real)}
"""Of a column's type: the type of a record's value that is made another, and what makes it."""
