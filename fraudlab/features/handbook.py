"""The Fraud Detection Handbook's features (chapter 3), point in time, and eight more.

A row sees rows of the same customer or terminal that stand before it, and itself, and labels of rows before it that
are at least ``delay_days`` old, or that the table says were known by then. Windows are cut to the microsecond.
Sums run over whole cents in integers, so that a value depends on its window alone, to the last bit, and not on the
rows a running sum has passed.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from fraudlab.errors import UserError
from fraudlab.features import handbook_records
from fraudlab.features.live import DAY, Event, Layout, PastOf
from fraudlab.features.windows import Array, KnownLabels, Newest, TimedGroups, Windows
from fraudlab.schema import TableSchema

if TYPE_CHECKING:
    import polars as pl

WINDOWS = (1, 7, 30)  # days
FRAUD_WINDOWS = (14, 30)
_HOUR = DAY // 24

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
        label_time: the column that says when each label became known, a date and time; where it is missing, and without
            it, that is ``delay_days`` after the row.

    Attributes:
        numeric: names of the features, the book's own where they are the book's.
        computed: those that a record may carry already computed.
    """

    needs = handbook_records.NEEDS
    categorical: tuple[str, ...] = ()

    def __init__(self, delay_days: int = 7, extended: bool = False, label_time: str | None = None) -> None:
        self.delay_days = delay_days
        self.extended = extended
        self.label_time = label_time
        self.version = 3 if label_time is None else 4
        self.numeric = BOOK + EXTENDED if extended else BOOK
        self.computed = tuple(name for name in self.numeric if name not in self.needs)

    def apply(self, frame: "pl.LazyFrame") -> "pl.LazyFrame":
        """Append the features, float64, to a frame of transactions sorted by time, then id; row order stays.

        Windows of w days are (t - w, t] of rows up to and including the present one; windows of known labels are
        (t - delay - w, t - delay], never with the present row itself; with ``label_time``, of labels that became known
        in (t - w, t]. Where a window is empty, a share of frauds is 0; a standard deviation of one row is 0, and so is
        an amount over a median or mean of 0.

        Args:
            frame: the columns ``needs``, without missing values: ids are integers, amounts whole cents (up to 1e9),
                labels 0 or 1. Other columns are kept.

        Raises:
            UserError: a value is missing or not of that kind, or rows are not sorted by time.
        """
        import polars as pl

        table = frame.collect()
        handbook_records.check(table)
        time, cents, fraud = handbook_records.in_numbers(table)
        customer, terminal = table["CUSTOMER_ID"].to_numpy(), table["TERMINAL_ID"].to_numpy()
        windows = TimedGroups(customer, time)
        labels: tuple[Windows | KnownLabels, ...] = windows, TimedGroups(terminal, time)
        if self.label_time is not None:
            delayed = (table["TX_DATETIME"] + timedelta(days=self.delay_days)).dt.replace_time_zone(None)
            known = table[self.label_time].dt.replace_time_zone(None).fill_null(delayed).dt.epoch("us").to_numpy()
            labels = KnownLabels(customer, time, known), KnownLabels(terminal, time, known)
        columns = {
            **self._of_clock(table["TX_DATETIME"].dt.replace_time_zone(None).dt.epoch("us").to_numpy()),
            **self._of_customer(windows, cents),
            **self._frauds_of_customer(labels[0], fraud),
            **self._of_terminal(labels[1], fraud),
        }
        return table.with_columns(
            pl.Series(name, columns[name], dtype=pl.Float64) for name in self.numeric if name in columns
        ).lazy()

    def parts(self, frame: "pl.LazyFrame") -> "Iterator[pl.DataFrame]":
        """The features that the frame has not."""
        yield self.apply(frame).select(self.computed).collect()

    @property
    def layout(self) -> Layout:
        """What a store keeps of each transaction.

        Raises:
            UserError: labels are counted from when each became known, which a store of these features does not.
        """
        if self.label_time is not None:
            raise UserError(
                f"the bundle's features count labels from {self.label_time} on, and serving.history counts them "
                "after label_delay_days; train without data.label_time, or send the features with each record"
            )
        return handbook_records.LAYOUT

    @property
    def live_fields(self) -> Mapping[str, Mapping[str, Any]]:
        return handbook_records.FIELDS

    @property
    def delay(self) -> int:
        return self.delay_days * DAY

    @property
    def dated(self) -> bool:
        return True

    @property
    def reach(self) -> int:
        return (self.delay_days + max(WINDOWS)) * DAY

    def event(self, record: Mapping[str, Any]) -> Event:
        """See :func:`.handbook_records.event`."""
        return handbook_records.event(record)

    def events(self, rows: "pl.DataFrame") -> "pl.DataFrame":
        """See :func:`.handbook_records.events`."""
        return handbook_records.events(rows)

    def of_past(self, present: Event, past: PastOf, known: tuple[int, int] = (0, 0)) -> dict[str, float]:
        """The features of the present transaction, as :meth:`apply` gives them, from what went before it.

        Raises:
            UserError: amounts are too large for ``extended``.
        """
        customer, terminal = (
            handbook_records.Past(
                np.append(earlier.time, present.time),
                np.append(earlier.numbers[0], present.numbers),
                np.append(earlier.fraud, 0),
            )
            for earlier in map(past, range(2))
        )
        columns = {
            **self._of_clock(customer.time[-1:]),
            **self._of_customer(Newest(customer.time), customer.cents),
            **self._frauds_of_customer(Newest(customer.time), customer.fraud),
            **self._of_terminal(Newest(terminal.time), terminal.fraud),
        }
        return {name: float(columns[name][0]) for name in self.computed}

    def lookups(self, frame: "pl.LazyFrame") -> dict[str, Array]:
        """None: what a card and a terminal did lately changes with every transaction, so no fitted table holds it."""
        return {}

    def of_record(self, record: Mapping[str, Any], lookups: Mapping[str, Array]) -> dict[str, Any]:
        """The features that the record carries, already computed."""
        return {name: record.get(name) for name in self.numeric}

    def of_records(self, records: "pl.DataFrame", lookups: Mapping[str, Array]) -> "pl.DataFrame":
        """The features that the records carry, already computed."""
        return records.select(self.numeric)

    def _of_clock(self, wall: Array) -> dict[str, Array]:
        """From ``wall`` time, microseconds since Thursday, 1970-01-01."""
        hour = wall % DAY // _HOUR
        weekend = (wall // DAY + 3) % 7 >= 5
        return {"TX_DURING_WEEKEND": weekend, "TX_DURING_NIGHT": hour <= 6, "TX_HOUR": hour}

    def _of_customer(self, windows: Windows, cents: Array) -> dict[str, Array]:
        columns = {}
        total = windows.cumulate(cents)
        for days in WINDOWS:
            start, stop = windows.since(days * DAY), windows.stop
            columns[f"CUSTOMER_ID_NB_TX_{days}DAY_WINDOW"] = windows.in_row_order(stop - start)
            mean = (total[stop] - total[start]) / (100.0 * (stop - start))
            columns[f"CUSTOMER_ID_AVG_AMOUNT_{days}DAY_WINDOW"] = windows.in_row_order(mean)
        if not self.extended:
            return columns

        columns["CUSTOMER_ID_STD_AMOUNT_30DAY_WINDOW"] = windows.in_row_order(_std(windows, cents, total))
        # Of whole cents, so that the mean of the two in the middle is exact.
        columns["CUSTOMER_ID_MEDIAN_AMOUNT_30DAY_WINDOW"] = windows.median(cents, 30 * DAY) / 100.0
        amount = windows.present(cents) / 100.0
        for kind in ("AVG_AMOUNT_30DAY", "AVG_AMOUNT_7DAY", "MEDIAN_AMOUNT_30DAY"):
            divisor = columns[f"CUSTOMER_ID_{kind}_WINDOW"]
            ratio = np.divide(amount, divisor, out=np.zeros_like(amount), where=divisor != 0)
            columns[f"TX_AMOUNT_OVER_CUSTOMER_{kind.replace('_AMOUNT', '')}"] = ratio
        return columns

    def _frauds_of_customer(self, labels: Windows | KnownLabels, fraud: Array) -> dict[str, Array]:
        columns: dict[str, Array] = {}
        if not self.extended:
            return columns
        frauds, delay = labels.cumulate(fraud), self._delay
        known = labels.until(delay)
        for days in FRAUD_WINDOWS:
            number = frauds[known] - frauds[labels.since(delay + days * DAY)]
            columns[f"CUSTOMER_ID_NB_FRAUD_{days}DAY_WINDOW"] = labels.in_row_order(number)
        return columns

    def _of_terminal(self, labels: Windows | KnownLabels, fraud: Array) -> dict[str, Array]:
        columns = {}
        frauds, delay = labels.cumulate(fraud), self._delay
        known = labels.until(delay)
        for days in WINDOWS:
            start = labels.since(delay + days * DAY)
            count = known - start
            risk = (frauds[known] - frauds[start]) / np.maximum(count, 1)
            columns[f"TERMINAL_ID_NB_TX_{days}DAY_WINDOW"] = labels.in_row_order(count)
            columns[f"TERMINAL_ID_RISK_{days}DAY_WINDOW"] = labels.in_row_order(risk)
        return columns

    @property
    def _delay(self) -> int:
        """By how many microseconds windows of labels end before the row; label times have the delay in them."""
        return self.delay_days * DAY if self.label_time is None else 0


def _std(windows: Windows, cents: Array, total: Array) -> Array:
    """Standard deviation over 30 days by position, with ``total`` the cumulated ``cents``."""
    start, stop = windows.since(30 * DAY), windows.stop
    count = (stop - start).astype(np.float64)
    most = int(np.abs(cents).max(initial=0))
    if count.max(initial=0.0) * float(most) ** 2 >= 2.0**63:
        raise UserError(
            f"TX_AMOUNT goes up to {most / 100:g}, too large for sums of squares over 30 days; "
            "give amounts in a larger unit, or use features.extended=false"
        )
    # Differences of sums that wrap around in 64 bits are right as long as a single window's sum fits.
    squares = windows.cumulate(cents * cents)
    spread = (squares[stop] - squares[start]) - (total[stop] - total[start]) ** 2.0 / count
    std = np.sqrt(np.maximum(spread, 0.0) / np.maximum(count - 1, 1)) / 100.0
    return np.where(count > 1, std, 0.0)


def make(settings: Mapping[str, Any], schema: TableSchema) -> HandbookFeatures:
    """``features=handbook``."""
    there = {column.name for column in schema.columns}
    if missing := [name for name in HandbookFeatures.needs if name not in there]:
        raise UserError(
            f"features=handbook needs the columns {', '.join(missing)}, which data={schema.name} has not; "
            "use features=columns"
        )
    if any(column.role == "label_time" and column.type != "datetime" for column in schema.columns):
        raise UserError(f"features=handbook needs dates and times in data.label_time={schema.label_time}")
    return HandbookFeatures(settings["delay_days"], settings["extended"], schema.label_time)
