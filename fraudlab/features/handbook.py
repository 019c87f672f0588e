"""The Fraud Detection Handbook's features (chapter 3), point in time, and eight more.

A row sees rows of the same customer or terminal that stand before it, and itself, and labels of rows before it that
are at least ``delay_days`` old. Windows are cut to the microsecond.
Sums run over whole cents in integers, so that a value depends on its window alone, to the last bit, and not on the
rows a running sum has passed.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraudlab.errors import UserError

Array = NDArray[Any]

WINDOWS = (1, 7, 30)  # days
FRAUD_WINDOWS = (14, 30)
_DAY = 86_400_000_000  # microseconds
_MOST_AMOUNT = 1e9

BOOK = (
    "TX_AMOUNT",
    "TX_DURING_WEEKEND",
    "TX_DURING_NIGHT",
    *(f"CUSTOMER_ID_{kind}_{days}DAY_WINDOW" for days in WINDOWS for kind in ("NB_TX", "AVG_AMOUNT")),
    *(f"TERMINAL_ID_{kind}_{days}DAY_WINDOW" for days in WINDOWS for kind in ("NB_TX", "RISK")),
)
EXTENDED = (
    "TX_AMOUNT_OVER_CUSTOMER_AVG_30DAY",
    "TX_AMOUNT_OVER_CUSTOMER_AVG_7DAY",
    "TX_AMOUNT_OVER_CUSTOMER_MEDIAN_30DAY",
    "CUSTOMER_ID_MEDIAN_AMOUNT_30DAY_WINDOW",
    "CUSTOMER_ID_STD_AMOUNT_30DAY_WINDOW",
    "TX_HOUR",
    *(f"CUSTOMER_ID_NB_FRAUD_{days}DAY_WINDOW" for days in FRAUD_WINDOWS),
)


class HandbookFeatures:
    """``features=handbook``: the book's 15 features or, ``extended``, 23.

    Args:
        delay_days: age at which a label is known, in days.
        extended: add the eight further features.

    Attributes:
        numeric: names of the features, the book's own where they are the book's.
    """

    needs = ("TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT", "TX_FRAUD")
    version = 2
    categorical: tuple[str, ...] = ()

    def __init__(self, delay_days: int = 7, extended: bool = False) -> None:
        self.delay_days = delay_days
        self.extended = extended
        self.numeric = BOOK + EXTENDED if extended else BOOK

    def apply(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """Append the features, float64, to a frame of transactions sorted by time, then id; row order stays.

        Windows of w days are (t - w, t] of rows up to and including the present one; windows of known labels are
        (t - delay - w, t - delay], never with the present row itself. Where a window is empty, a share of frauds is 0;
        a standard deviation of one row is 0, and so is an amount over a median or mean of 0.

        Args:
            frame: the columns ``needs``, without missing values: ids are integers, amounts whole cents (up to 1e9),
                labels 0 or 1. Other columns are kept.

        Raises:
            UserError: a value is missing or not of that kind, or rows are not sorted by time.
        """
        table = frame.collect()
        _check(table)
        time = table["TX_DATETIME"].dt.epoch("us").to_numpy()
        amount = table["TX_AMOUNT"].cast(pl.Float64).to_numpy()
        columns: dict[str, Array | pl.Series] = {
            "TX_DURING_WEEKEND": table["TX_DATETIME"].dt.weekday().ge(6).cast(pl.Float64),
            "TX_DURING_NIGHT": table["TX_DATETIME"].dt.hour().le(6).cast(pl.Float64),
        }
        cents = np.rint(amount * 100).astype(np.int64)
        fraud = table["TX_FRAUD"].to_numpy().astype(np.int64)

        customer = _Groups(table["CUSTOMER_ID"].to_numpy(), time)
        total = customer.cumulate(cents)
        for days in WINDOWS:
            start, stop = customer.since(days * _DAY), customer.stop
            columns[f"CUSTOMER_ID_NB_TX_{days}DAY_WINDOW"] = customer.in_row_order(stop - start)
            mean = (total[stop] - total[start]) / (100.0 * (stop - start))
            columns[f"CUSTOMER_ID_AVG_AMOUNT_{days}DAY_WINDOW"] = customer.in_row_order(mean)

        terminal = _Groups(table["TERMINAL_ID"].to_numpy(), time)
        frauds, delay = terminal.cumulate(fraud), self.delay_days * _DAY
        known = terminal.until(delay)
        for days in WINDOWS:
            start = terminal.since(delay + days * _DAY)
            count = known - start
            risk = (frauds[known] - frauds[start]) / np.maximum(count, 1)
            columns[f"TERMINAL_ID_NB_TX_{days}DAY_WINDOW"] = terminal.in_row_order(count)
            columns[f"TERMINAL_ID_RISK_{days}DAY_WINDOW"] = terminal.in_row_order(risk)

        if self.extended:
            self._extend(columns, table, customer, amount, cents, total, fraud)
        return table.with_columns(
            pl.Series(name, columns[name], dtype=pl.Float64) for name in self.numeric if name in columns
        ).lazy()

    def parts(self, frame: pl.LazyFrame) -> Iterator[pl.DataFrame]:
        """The features that the frame has not."""
        added = [name for name in self.numeric if name not in self.needs]
        yield self.apply(frame).select(added).collect()

    def look_ups(self, frame: pl.LazyFrame) -> dict[str, Array]:
        """None: what a card and a terminal did lately changes with every transaction, so no fitted table holds it."""
        return {}

    def of_record(self, record: Mapping[str, Any], look_ups: Mapping[str, Array]) -> dict[str, Any]:
        """The features that the record carries, already computed."""
        return {name: record.get(name) for name in self.numeric}

    def _extend(
        self,
        columns: dict[str, Array | pl.Series],
        table: pl.DataFrame,
        customer: "_Groups",
        amount: Array,
        cents: Array,
        total: Array,
        fraud: Array,
    ) -> None:
        start, stop = customer.since(30 * _DAY), customer.stop
        count = (stop - start).astype(np.float64)
        if count.max(initial=0.0) * float(np.abs(cents).max(initial=0)) ** 2 >= 2.0**63:
            raise UserError(
                f"TX_AMOUNT goes up to {amount.max():g}, too large for sums of squares over 30 days; "
                "give amounts in a larger unit, or use features.extended=false"
            )
        # Differences of sums that wrap around in 64 bits are right as long as a single window's sum fits.
        squares = customer.cumulate(cents * cents)
        spread = (squares[stop] - squares[start]) - (total[stop] - total[start]) ** 2.0 / count
        std = np.sqrt(np.maximum(spread, 0.0) / np.maximum(count - 1, 1)) / 100.0
        columns["CUSTOMER_ID_STD_AMOUNT_30DAY_WINDOW"] = customer.in_row_order(np.where(count > 1, std, 0.0))
        median = customer.median(amount, 30 * _DAY)
        columns["CUSTOMER_ID_MEDIAN_AMOUNT_30DAY_WINDOW"] = median
        for name, divisor in (
            ("AVG_30DAY", columns["CUSTOMER_ID_AVG_AMOUNT_30DAY_WINDOW"]),
            ("AVG_7DAY", columns["CUSTOMER_ID_AVG_AMOUNT_7DAY_WINDOW"]),
            ("MEDIAN_30DAY", median),
        ):
            divisor = np.asarray(divisor)
            ratio = np.divide(amount, divisor, out=np.zeros_like(amount), where=divisor != 0)
            columns[f"TX_AMOUNT_OVER_CUSTOMER_{name}"] = ratio
        columns["TX_HOUR"] = table["TX_DATETIME"].dt.hour().cast(pl.Float64)
        frauds, delay = customer.cumulate(fraud), self.delay_days * _DAY
        known = customer.until(delay)
        for days in FRAUD_WINDOWS:
            number = frauds[known] - frauds[customer.since(delay + days * _DAY)]
            columns[f"CUSTOMER_ID_NB_FRAUD_{days}DAY_WINDOW"] = customer.in_row_order(number)


def _check(table: pl.DataFrame) -> None:
    """Refuse what the sums below would silently get wrong."""
    for name in HandbookFeatures.needs:
        if empty := table[name].null_count():
            raise UserError(f"column {name} has no value in {empty} rows; fill them or leave the rows out")
    for name in ("CUSTOMER_ID", "TERMINAL_ID"):
        if not table[name].dtype.is_integer():
            raise UserError(f"column {name} is {table[name].dtype}; number the ids with integers")
    if not np.isin(table["TX_FRAUD"].to_numpy(), (0, 1)).all():
        raise UserError("column TX_FRAUD holds other values than 0 and 1; write 1 for fraud and 0 for the rest")
    if not isinstance(table["TX_DATETIME"].dtype, pl.Datetime):
        raise UserError(f"column TX_DATETIME is {table['TX_DATETIME'].dtype}; make it a date and time")
    if not table["TX_DATETIME"].is_sorted():
        raise UserError("rows are not sorted by TX_DATETIME; sort them by TX_DATETIME, TRANSACTION_ID")
    cents = table["TX_AMOUNT"].cast(pl.Float64).to_numpy() * 100
    # Amounts of float32 columns miss whole cents by some 1e-7 of their value; NaN and infinity fail here too.
    with np.errstate(invalid="ignore"):
        wrong = ~((np.abs(cents - np.rint(cents)) <= 0.1) & (np.abs(cents) <= 100 * _MOST_AMOUNT))
    if wrong.any():
        raise UserError(
            f"TX_AMOUNT holds {table['TX_AMOUNT'][int(wrong.argmax())]}, which is not in whole cents or beyond "
            f"{_MOST_AMOUNT:g}; round amounts to 2 decimals and leave out rows without one"
        )


class _Groups:
    """Rows of a time-sorted table put into groups: positions below count in (group, row) order.

    Args:
        key: ``[N]`` integers, the group of each row.
        time: ``[N]`` microseconds, not falling.
    """

    def __init__(self, key: Array, time: Array) -> None:
        rows = len(key)
        # NumPy sorts keys of 16 bits by radix, several times faster.
        key = key.astype(np.int64) - int(key.min(initial=0))
        self.order = np.argsort(key.astype(np.min_scalar_type(int(key.max(initial=0)))), kind="stable")
        self._group = np.cumsum(np.diff(key[self.order], prepend=key[self.order[:1]]) != 0)
        time = time - time[:1]
        # Times on whole seconds are counted in seconds: groups times ticks must fit 64 bits.
        self._tick = 1_000_000 if not (time % 1_000_000).any() else 1
        self._time = (time // self._tick)[self.order]
        self._range = int(self._time.max(initial=0))
        # One number that sorts by group, then by time; far enough apart that no window reaches another group.
        span = 2 * self._range + 2
        if rows and (int(self._group[-1]) + 1) * span >= 2**63:
            raise UserError("too many customers or terminals for times in microseconds; round TX_DATETIME to seconds")
        self._place = self._group * span + self._time
        self.stop = np.arange(1, rows + 1)  # one past the present row

    def since(self, age: int) -> Array:
        """Position of the first row of the same group later than ``age`` microseconds before each row."""
        # A row is later by whole ticks, and nothing is older than the whole range.
        ticks = min(age // self._tick, self._range + 1)
        first: Array = np.searchsorted(self._place, self._place - ticks, side="right")
        return first

    def until(self, age: int) -> Array:
        """One past the last row of the same group that stands before each row and is ``age`` microseconds old."""
        return np.minimum(self.since(age), self.stop - 1)

    def cumulate(self, value: Array) -> Array:
        """``[N + 1]``: sum of ``value`` (in row order) over the positions before each one."""
        return np.concatenate([[0], np.cumsum(value[self.order])])

    def in_row_order(self, value: Array) -> Array:
        """``value`` given by position, as float64 by row."""
        rows = np.empty(len(value))
        rows[self.order] = value
        return rows

    def median(self, value: Array, age: int) -> Array:
        """Median of ``value`` over the rows of the same group younger than ``age`` up to the present row."""
        # Polars counts rows of one instant as peers, so rows get instants of their own: a tick is cut in ``scale``,
        # and the window ends half a tick early, so that no row exactly ``age`` old slips in.
        new = np.diff(self._place, prepend=-1) != 0
        position = np.arange(len(value))
        rank = position - np.maximum.accumulate(np.where(new, position, 0))
        scale = 2 * int(rank.max(initial=0)) + 2
        windows = (
            pl.DataFrame({"group": self._group, "instant": self._time * scale + rank, "value": value[self.order]})
            .rolling("instant", period=f"{age // self._tick * scale - scale // 2}i", group_by="group")
            .agg(pl.col("value").median())
        )
        return self.in_row_order(windows["value"].to_numpy())
