"""``features=history``: the past of every key of any table, beside the table's own columns.

A row sees the rows of the same key that stand before it in the table (by time, then id), never itself; of two rows of
one instant the later in that order sees the earlier. A window w holds the rows of (t - w, t]. Labels are seen when they
are known: ``label_delay_days`` after their row or, where the table says so, at ``data.label_time``; a window of labels
holds those that became known in it, and runs follow the order in which labels became known. A row whose key is missing
has no past and is in none. A missing number takes no part in sums; where an aggregate has no value it is missing.

One definition is evaluated by the same integer arithmetic for a whole table (:meth:`HistoryFeatures.parts`) and for one
row with its past (:meth:`HistoryFeatures.of_past`), so both give the same values, bit for bit.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fraudlab.engines import Engine, InThreads
from fraudlab.errors import UserError
from fraudlab.features.contract import Lookups
from fraudlab.features.history import rows as _rows
from fraudlab.features.history.aggregates import QUIET, computed, of_clock, plan
from fraudlab.features.history.proposal import proposal
from fraudlab.features.history.rows import TimeReading
from fraudlab.features.history.settings import define, near
from fraudlab.features.history.tables import Stretches, Table
from fraudlab.features.live import Event, Layout, PastOf, WrongField
from fraudlab.features.narrow import NARROW, narrow_columns, narrowed, narrowed_rows
from fraudlab.schema import TableSchema

if TYPE_CHECKING:
    import polars as pl

_ID = 64  # characters of an id, as those of a label


class HistoryFeatures:
    """``features=history``: the table's columns, as ``features=columns`` has them, and aggregates of the past.

    Args:
        settings: ``keys windows of decimals prior delay_days``, and maybe ``columns``; without keys,
            :func:`.proposal.proposal` names them.
        schema: the table's columns.

    Attributes:
        computed: names of the aggregates, which a record may carry.
        labels: the columns of labels, and of when they were known if there is one.
        needs: columns that they are made of.
        settings: those in force, with what was proposed.
    """

    version = 1

    def __init__(self, settings: Mapping[str, Any], schema: TableSchema) -> None:
        self.settings = {**settings, **({} if settings["keys"] else proposal(schema, settings["delay_days"]))}
        self.definition = define(self.settings, schema)
        aggregates = [aggregate.name for aggregate in self.definition.aggregates]
        categorical, own = schema.names("categorical"), schema.names("amount", "numeric")
        columns = self.settings.get("columns") or (*categorical, *own, *aggregates)
        if unknown := sorted({*columns} - {*categorical, *own, *aggregates}):
            raise UserError(f"features.columns names {unknown[0]}{near(unknown[0], [*own, *aggregates])}")
        self.categorical = tuple(name for name in columns if name in categorical)
        self.numeric = tuple(name for name in columns if name not in categorical)
        self.computed = tuple(name for name in aggregates if name in columns)
        keys = [column for columns in self.definition.keys.values() for column in columns]
        made_of = (*keys, *self.definition.numbers, *self.definition.categories)
        self.needs = tuple(dict.fromkeys((self.definition.time, *made_of)))
        self._of = {
            key: tuple(a for a in self.definition.of(key) if a.name in self.computed)
            for key in ("", *self.definition.keys)
        }
        self._plans = {key: plan(self._of[key]) for key in self.definition.keys}
        self._reads_labels = self.definition.reads_labels
        self._label, self._label_time = schema.label, schema.label_time
        self.labels = tuple(filter(None, (schema.label, schema.label_time)))
        self._schema = schema
        reading = schema.reading
        if reading is None or schema.time in reading.derive:  # what data.derive makes is read already
            self._time = TimeReading()
        else:
            self._time = TimeReading.of(reading.time)

    @property
    def to_learn(self) -> dict[str, tuple[str, str, int]]:
        """Limits that training rows are to tell, ``settings["limits"]``: column, how it compares, and its decimals."""
        decimals = self.definition.decimals
        return {where.text: (where.column, where.operator, decimals) for where in self.definition.to_learn}

    def check_typed(self) -> None:
        """Hold the definition to what may be typed; what earlier versions wrote may have labels that are known at once.

        Raises:
            UserError: labels are asked for without a delay.
        """
        if not self._reads_labels or self.definition.delay or self._label_time:
            return
        label = next(aggregate for aggregate in self.definition.aggregates if aggregate.of_labels)
        raise UserError(
            f"{label.name} rests on labels, and they are known at once: say after how many days a label is known, "
            "label_delay_days=7, or name the column that has the moment, data.label_time=…"
        )

    def parts(self, frame: "pl.LazyFrame") -> "Iterator[pl.DataFrame]":
        """The aggregates of all rows, key by key.

        Raises:
            UserError: rows are not sorted by time, or numbers are too large for exact sums.
        """
        import polars as pl

        for stretches in self.stretches(frame):
            yield pl.concat(stretches)

    def stretches(
        self,
        frame: "pl.LazyFrame",
        folder: Path | None = None,
        memory: float | None = None,
        engine: Engine | None = None,
    ) -> Iterator[Stretches]:
        """The same of a table that need not fit into memory; see :meth:`.tables.Table.features`."""
        chosen = replace(self.definition, aggregates=tuple(itertools.chain(*self._of.values())))
        return Table(chosen, frame, self._label, self._label_time).features(folder, memory, engine or InThreads())

    @cached_property
    def layout(self) -> Layout:
        """What a store keeps of each row.

        Raises:
            UserError: labels are known at times that count from no known day, which nobody can tell a store.
        """
        types = {column.name: column.type for column in self._schema.columns}
        if self._reads_labels and self._label_time and not self.dated:
            raise UserError(
                f"data.label_time={self._label_time} counts from no known day, so serving.history cannot say when a "
                "label was told; train with data.time in dates, or send the features with each record"
            )
        return Layout(
            self._schema.id or "",
            self._schema.id is not None and types[self._schema.id] == "string",
            self.definition.time,
            tuple(self.definition.keys.values()),
            self.definition.numbers,
            self.definition.categories,
            self.definition.decimals,
            self.definition.delay if self._reads_labels and self.definition.prior else None,
            self._label_time is not None and self._reads_labels,
        )

    @property
    def live_fields(self) -> Mapping[str, Mapping[str, Any]]:
        why = {"required": True, "nullable": False, "why": "the history needs it"}
        return {self.definition.time: why, **({self._schema.id: why} if self._own_ids and self._schema.id else {})}

    @cached_property
    def _own_ids(self) -> bool:
        """Whether rows come with an id; else it is the number of the row."""
        reading = self._schema.reading
        return (
            reading is None or any(c.name == self._schema.id for c in reading.raw) or self._schema.id in reading.derive
        )

    @cached_property
    def reach(self) -> int | None:
        return self.definition.reach

    @cached_property
    def dated(self) -> bool:
        return any(c.name == self.definition.time and c.type == "datetime" for c in self._schema.columns)

    @property
    def delay(self) -> int:
        return self.definition.delay

    def meaning(self, name: str) -> tuple[Any, ...]:
        definition = self.definition
        own = next(aggregate for aggregate in definition.aggregates if aggregate.name == name)
        labels = (definition.prior, definition.delay, self._label_time) if own.of_labels else ()
        return own, definition.keys.get(own.key), definition.time, self._time, definition.decimals, labels

    def event(self, record: Mapping[str, Any]) -> Event:
        """A record as a store keeps it; see :func:`.rows.event`."""
        return _rows.event(self.definition, record, self._id(record), self._time)

    def _id(self, record: Mapping[str, Any]) -> int | str | None:
        name = self._schema.id or ""
        value = record.get(name)
        if value is None and not self._own_ids:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # JSON knows one kind of number
        if self.layout.text_ids:
            if value is None or not 0 < len(str(value)) <= _ID:
                raise WrongField(name, f"is {value!r}; give a text of 1 to {_ID} characters")
            return str(value)
        if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
            raise WrongField(name, f"is {value!r}; give an integer of 64 bits")
        return value

    def events(self, rows: "pl.DataFrame") -> "pl.DataFrame":
        """Rows of a table as a store keeps them; see :meth:`fraudlab.features.live.Live.events`.

        A missing label is one not told, and so is a missing column of labels.
        """
        import polars as pl

        if missing := [name for name in self.needs if name not in rows.columns]:
            raise UserError(f"the transactions have no column {', '.join(missing)}; give the table's own columns")
        if empty := rows[self.definition.time].null_count():
            raise UserError(f"column {self.definition.time} has no value in {empty} rows; leave the rows out")
        layout = self.layout
        if layout.id in rows.columns:
            ids = rows[layout.id].cast(pl.String if layout.text_ids else pl.Int64, strict=False)
            if ids.null_count() or ids.n_unique() < len(ids):
                raise UserError(f"{layout.id} must give each transaction an id of its own")
            long = ~ids.str.len_chars().is_between(1, _ID) if layout.text_ids else pl.Series([False])
            if long.any():
                row = int(long.arg_max() or 0)
                raise UserError(
                    f"row {row}: {layout.id} is {ids[row][:80]!r}, of {len(ids[row])} characters; a history takes "
                    f"ids of 1 to {_ID}, as a server does"
                )
        elif self._own_ids and layout.id:
            raise UserError(f"the transactions have no column {layout.id}, their ids; give the table's own columns")
        else:
            ids = pl.Series(np.arange(len(rows)))
        none = pl.Series([None], dtype=pl.Int64).new_from_index(0, len(rows))
        fraud = rows[self._label] if self._label in rows.columns else none
        fraud = fraud.cast(pl.Int8) if fraud.dtype == pl.Boolean else fraud
        if fraud.dtype == pl.String or not fraud.drop_nulls().is_in([0, 1]).all():
            raise UserError(f"column {self._label} holds other values than 0 and 1; write 1 for fraud, 0 for the rest")
        known = none
        if layout.label_times and self._label_time in rows.columns:
            column = rows[self._label_time]
            late = np.maximum(_rows.moments(column), _rows.moments(rows[self.definition.time]))
            known = pl.Series(late).set(column.is_null(), None)
        made = {"id": ids, **_rows.kept(self.definition, rows), "known": known, "fraud": fraud.cast(pl.Int8)}
        return pl.DataFrame(made)

    def of_past(self, present: Event, past: PastOf, known: tuple[int, int]) -> dict[str, float | None]:
        """The aggregates of one row, as :meth:`parts` gives them; see :meth:`fraudlab.features.live.Live.of_past`.

        Raises:
            UserError: numbers are too large for exact sums.
        """
        now = np.array([present.time])
        found = {a: of_clock(a.what, now) for a in self._of[""]}
        for position, key in enumerate(self.definition.keys):
            if present.keys[position] is None or not self._of[key]:
                found |= {a: np.array([np.nan]) for a in self._of[key]}
                continue
            rows = _rows.one_row(self.definition, present, past(position), known)
            with np.errstate(**QUIET):
                for _, some in computed(rows, None, self._plans[key]):
                    found |= some
        values = {a.name: float(found[a][0]) for own in self._of.values() for a in own}
        return {name: None if values[name] != values[name] else values[name] for name in self.computed}

    def lookups(self, frame: "pl.LazyFrame") -> Lookups:
        """Which columns are narrow; the past changes with every transaction, so no fitted table holds it."""
        return {NARROW: narrow_columns(frame)}

    def of_record(self, record: Mapping[str, Any], lookups: Lookups) -> dict[str, Any]:
        """The record, with the aggregates that it carries, already computed."""
        return {**dict.fromkeys(self.computed), **narrowed(record, lookups)}

    def of_records(self, records: "pl.DataFrame", lookups: Lookups) -> "pl.DataFrame":
        """The records, with the aggregates that they carry, already computed."""
        return narrowed_rows(records, lookups)


def make(settings: Mapping[str, Any], schema: TableSchema) -> HistoryFeatures:
    """``features=history``."""
    return HistoryFeatures(settings, schema)
