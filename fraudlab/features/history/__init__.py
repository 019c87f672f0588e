"""``features=history``: the past of every key of any table, beside the table's own columns.

A row sees the rows of the same key that stand before it in the table (by time, then id), never itself; of two rows of
one instant the later in that order sees the earlier. A window w holds the rows of (t - w, t]. Labels are seen when they
are known: ``label_delay_days`` after their row or, where the table says so, at ``data.label_time``; a window of labels
holds those that became known in it, and runs follow the order in which labels became known. A row whose key is missing
has no past and is in none. A missing number takes no part in sums; where an aggregate has no value it is missing.

One definition is evaluated by the same integer arithmetic for a whole table (:meth:`HistoryFeatures.parts`) and for one
row with its past (:meth:`HistoryFeatures.of_past`), so both give the same values, bit for bit.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fraudlab.features.contract import Lookups
from fraudlab.features.history import rows as _rows
from fraudlab.features.history.aggregates import ByKey, Rows, of_clock, plan
from fraudlab.features.history.definition import Aggregate, define
from fraudlab.features.history.proposal import proposal
from fraudlab.features.history.rows import Earlier, Event
from fraudlab.features.history.streams import Floats, Integers
from fraudlab.features.narrow import NARROW, narrow_columns, narrowed, narrowed_rows
from fraudlab.features.threads import in_threads
from fraudlab.schema import TableSchema

if TYPE_CHECKING:
    import polars as pl

PastOf = Callable[[str, str], Earlier]
"""The rows of a key before the present one, of the key's name and its text form."""


class HistoryFeatures:
    """``features=history``: the table's columns, as ``features=columns`` has them, and aggregates of the past.

    Args:
        settings: ``keys windows of decimals prior delay_days``; without keys, :func:`.proposal.proposal` names them.
        schema: the table's columns.

    Attributes:
        computed: names of the aggregates, which a record may carry.
        needs: columns that they are made of.
        settings: those in force, with what was proposed.
    """

    version = 1

    def __init__(self, settings: Mapping[str, Any], schema: TableSchema) -> None:
        self.settings = {**settings, **({} if settings["keys"] else proposal(schema, settings["delay_days"]))}
        self.definition = define(self.settings, schema)
        self.computed = tuple(aggregate.name for aggregate in self.definition.aggregates)
        self.categorical = schema.names("categorical")
        self.numeric = (*schema.names("amount", "numeric"), *self.computed)
        keys = [column for columns in self.definition.keys.values() for column in columns]
        made_of = (*keys, *self.definition.numbers, *self.definition.categories)
        self.needs = tuple(dict.fromkeys((self.definition.time, *made_of)))
        self._plans = {key: plan(self.definition.of(key)) for key in self.definition.keys}
        self._label, self._label_time = schema.label, schema.label_time
        self._zone = None if schema.reading is None else schema.reading.time.get("zone")

    def parts(self, frame: "pl.LazyFrame") -> "Iterator[pl.DataFrame]":
        """The aggregates of all rows, key by key.

        Raises:
            UserError: rows are not sorted by time, or numbers are too large for exact sums.
        """
        import polars as pl

        labels = [self._label, *([self._label_time] if self._label_time else [])] if self._reads_labels else []
        columns = frame.select(*self.needs, *labels).collect()
        rows, groups = _rows.table(self.definition, columns, self._label, self._label_time)
        del columns
        if clock := self.definition.of(""):
            yield pl.DataFrame({a.name: of_clock(a.what, rows.time) for a in clock}).fill_nan(None)
        for key, group in groups.items():
            made: dict[str, Floats] = {}
            for by_key, windows in self._by_stream(rows, group, key):
                for features in in_threads(by_key.features, windows):
                    made |= features
            if made:
                ordered = {a.name: made[a.name] for a in self.definition.of(key)}
                yield pl.DataFrame(ordered).fill_nan(None)

    @property
    def _reads_labels(self) -> bool:
        return self.definition.reads_labels

    def event(self, record: Mapping[str, Any]) -> Event:
        """A record as a history keeps it; see :func:`.rows.event`."""
        return _rows.event(self.definition, record, self._zone)

    def of_past(self, present: Event, past: PastOf, known: tuple[int, int]) -> dict[str, float | None]:
        """The aggregates of one row, as :meth:`parts` gives them, from what stands before it.

        Args:
            present: of :meth:`event`.
            past: gives the rows before it of each key.
            known: number of rows of any key whose label was known when the day of the row began, and of frauds among
                them.

        Raises:
            UserError: numbers are too large for exact sums.
        """
        now = np.array([present.time])
        found = {a.name: of_clock(a.what, now) for a in self.definition.of("")}
        for key, text in zip(self.definition.keys, present.keys, strict=True):
            aggregates = self.definition.of(key)
            if text is None or not aggregates:
                found |= {a.name: np.array([np.nan]) for a in aggregates}
                continue
            rows = _rows.one_row(self.definition, present, past(key, text), known)
            for by_key, windows in self._by_stream(rows, np.zeros(len(rows.time), np.int64), key):
                for some in windows:
                    found |= by_key.features(some)
        values = ((name, float(found[name][0])) for name in self.computed)
        return {name: None if value != value else value for name, value in values}

    def _by_stream(self, rows: Rows, group: Integers, key: str) -> Iterator[tuple[ByKey, list[list[Aggregate]]]]:
        for (of_labels, where), windows in self._plans[key].items():
            yield ByKey(rows, group, rows.stream(of_labels, where)), list(windows.values())

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
