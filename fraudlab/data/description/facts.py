"""Measures a table: each column, repeated rows, and whether the last labels are known."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraudlab.data.sources.contract import Source
from fraudlab.data.sources.table.roles import ROW_ID
from fraudlab.data.splits.known import clock
from fraudlab.schema import Column

MOST_ROWS = 100_000
"""Rows of the sample for the plots and words of a column; missing and different values count all rows."""

MOST_EXACT = 200_000
"""Rows up to which different values are counted one by one."""

_BARS = 24
_WORDS = 12
_STRETCHES = 30  # intervals of time
_LATEST = 6  # most intervals at the end in which labels may be missing
_FALLS = 0.6  # of the earlier share of fraud


@dataclass(frozen=True)
class Bar:
    """One bar of a column's plot: an interval or a word, its share of rows and its share of fraud."""

    name: str
    rows: float
    fraud: float | None


@dataclass(frozen=True)
class ColumnFacts:
    """One column: share ``missing``, number of ``different`` values as ``counted``, commonest words or range."""

    column: Column
    missing: float
    different: int
    examples: str
    bars: Sequence[Bar]
    counted: str = ""  # what stands before the number: "about ", "at least "

    @property
    def shown(self) -> str:
        """The number of different values in words."""
        return number_of(self.different, self.counted)


@dataclass(frozen=True)
class Maturity:
    """The share of fraud falls at the end: labels of the last ``days`` are probably not all known."""

    days: float
    last: float
    before: float


def number_of(different: int, counted: str) -> str:
    """A count; two digits of it, if it is approximate.

    >>> number_of(15_229, ""), number_of(15_229, "about ")
    ('15,229', 'about 15,000')
    """
    if counted == "about " and different >= 100:
        different = round(different, 2 - len(str(different)))
    return f"{counted}{different:,}"


def measure(source: Source, sampled: bool = False) -> tuple[list[ColumnFacts], int]:
    """Every column in table order, and the number of duplicate rows: equal to another one except for the id.

    ``sampled``: the rows are a sample of a table, which may have more values.
    """
    schema = source.schema
    kept_beside = set(schema.reading.as_read.values()) if schema.reading is not None else set()
    columns = [column for column in schema.columns if column.name not in (*kept_beside, ROW_ID)]
    names = [column.name for column in columns]
    rows = source.frame.select(pl.len()).collect().item()
    exact = rows <= MOST_EXACT
    counted = "at least " if sampled else "" if exact else "about "
    found = source.frame.select(
        pl.struct(pl.col(names).null_count()).alias("missing"),
        pl.struct(pl.col(names).drop_nulls().n_unique() if exact else pl.col(names).approx_n_unique()).alias(
            "different"
        ),
    )
    missing, different = found.collect(engine="streaming").row(0)
    own = [name for name in names if name not in (schema.id, ROW_ID)]
    duplicates = rows - source.frame.select(pl.struct(own).hash().n_unique()).collect(engine="streaming").item()
    sample = source.frame.gather_every(max(1, rows // MOST_ROWS)).collect(engine="streaming")
    fraud = sample[schema.label].to_numpy().astype(bool)
    made = []
    for column in columns:
        values = sample[column.name]
        bars = list(_bars(values, fraud)) if column.name != schema.id else []
        made.append(
            ColumnFacts(
                column, missing[column.name] / rows, different[column.name], _examples(values, bars), bars, counted
            )
        )
    return made, duplicates


def _bars(values: pl.Series, fraud: NDArray[np.bool_]) -> Iterator[Bar]:
    known = values.is_not_null().to_numpy()
    if not known.any():
        return
    share = len(values)
    if values.dtype in (pl.String, pl.Boolean):
        words = pl.DataFrame({"word": values.cast(pl.String), "fraud": fraud}).drop_nulls("word")
        counts = (
            words.group_by("word").agg(pl.len(), pl.col("fraud").mean()).sort("len", "word", descending=[True, False])
        )
        for word, rows, frauds in counts.head(_WORDS).iter_rows():
            yield Bar(word, rows / share, frauds)
        if len(rest := counts[_WORDS:]):
            rows = int(rest["len"].sum())
            yield Bar(f"{len(rest):,} others", rows / share, float((rest["fraud"] * rest["len"]).sum()) / rows)
        return
    dated = values.dtype.is_temporal()
    number = (values.dt.epoch("us") if dated else values).cast(pl.Float64).to_numpy()
    known &= np.isfinite(number)
    if not known.any():
        return
    low, high = np.quantile(number[known], (0.005, 0.995))
    every = np.unique(number[known])
    if len(every) <= _BARS:  # a bar a value
        edges = np.append(every, np.inf)
    else:
        edges = np.linspace(low, high, _BARS + 1) if high > low else np.array([every[0], every[-1]])
    place = np.clip(np.searchsorted(edges, number[known], side="right") - 1, 0, len(edges) - 2)
    rows = np.bincount(place, minlength=len(edges) - 1)
    frauds = np.bincount(place, fraud[known], minlength=len(edges) - 1)
    for first, count, found in zip(edges, rows, frauds, strict=False):
        name = _moment(first) if dated else f"{first:.4g}" if abs(first) < 1e4 else f"{first:.0f}"
        yield Bar(name, count / share, found / count if count else None)


def _moment(microseconds: float) -> str:
    return str(np.datetime64(int(microseconds), "us").astype("datetime64[m]"))


def _examples(values: pl.Series, bars: Sequence[Bar]) -> str:
    known = values.drop_nulls()
    if not len(known):
        return "no value"
    if values.dtype in (pl.String, pl.Boolean):
        shown = bars[:4] if bars and bars[0].rows > 1.5 / len(values) else []
        return ", ".join(f"{bar.name[:30]} {bar.rows:.0%}" for bar in shown) or f"such as {str(known[0])[:30]}"
    least, most = known.min(), known.max()
    return f"{_plain(least)} to {_plain(most)}"


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def maturity(label: pl.Series, time: pl.Series | None) -> Maturity | None:
    """The fall of the share of fraud at the end, if it is larger than chance; else None."""
    if time is None or not len(time):
        return None
    moment, length = clock(time)
    day = moment / length
    span = day[-1] - day[0]
    if span <= 0:
        return None
    stretch = np.minimum((day - day[0]) / span * _STRETCHES, _STRETCHES - 1).astype(int)
    rows = np.bincount(stretch, minlength=_STRETCHES)
    frauds = np.bincount(stretch, label.to_numpy(), minlength=_STRETCHES)
    before = frauds[:-_LATEST].sum() / max(1, rows[:-_LATEST].sum())
    share = frauds / np.maximum(rows, 1)
    falls = 0
    while falls < _LATEST and rows[-1 - falls] and share[-1 - falls] < _FALLS * before:
        falls += 1
    last_rows, last_frauds = rows[_STRETCHES - falls :].sum(), frauds[_STRETCHES - falls :].sum()
    expected = before * last_rows
    if not falls or (expected - last_frauds) < 3 * np.sqrt(expected):
        return None
    return Maturity(span * falls / _STRETCHES, last_frauds / last_rows, before)


def by_role(columns: Sequence[ColumnFacts]) -> Mapping[str, list[ColumnFacts]]:
    """The columns of each role, in table order."""
    found: dict[str, list[ColumnFacts]] = {}
    for facts in columns:
        found.setdefault(facts.column.role, []).append(facts)
    return found
