"""What a feature set offers whose past a store keeps live: what is kept of each row, and features from it."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fraudlab.errors import UserError

if TYPE_CHECKING:
    import polars as pl

DAY = 86_400_000_000  # microseconds
MISSING = -(2**63)
"""A number that is not there, among those of :class:`Event`."""
SEPARATOR = "\x1f"
"""Between the words of a key of several columns."""


class WrongField(UserError):
    """A row that a store does not take.

    Attributes:
        field: which of its fields is at fault.
    """

    def __init__(self, field: str, says: str) -> None:
        super().__init__(f"{field} {says}")
        self.field = field


class Event(NamedTuple):
    """One row as a store keeps it.

    Attributes:
        id: of the row; None where the store is to number it.
        time: microseconds.
        keys: value of each key; None where one of its columns is missing.
        numbers: whole numbers of the smallest unit; ``MISSING``.
        categories: the text form of each category, or what a store keeps in its place; None: missing.
    """

    id: int | str | None
    time: int
    keys: tuple[str | None, ...]
    numbers: tuple[int, ...] = ()
    categories: tuple[Hashable, ...] = ()


class Earlier(NamedTuple):
    """Rows of one key before the present one, by time, then id, column by column.

    Attributes:
        time: ``[N]`` int64 microseconds.
        known: ``[N]`` int64 microseconds, when the label is known, not before ``time``.
        fraud: ``[N]`` int64, 0 or 1.
        numbers: ``[N]`` int64 of each number.
        categories: ``[N]`` of each category, equal where the present row's is and None where it is missing.
    """

    time: NDArray[np.int64]
    known: NDArray[np.int64]
    fraud: NDArray[np.int64]
    numbers: Sequence[NDArray[np.int64]]
    categories: Sequence[Sequence[Hashable]]

    @classmethod
    def of_rows(cls, rows: Sequence[Sequence[Any]], numbers: int, categories: int) -> "Earlier":
        """Of ``(time, known, fraud, *numbers, *categories)`` each."""
        columns = list(zip(*rows, strict=True)) if rows else [()] * (3 + numbers + categories)
        time, known, fraud, *others = (np.array(column, np.int64) for column in columns[: 3 + numbers])
        return cls(time, known, fraud, others, columns[3 + numbers :])


PastOf = Callable[[int], Earlier]
"""The rows before the present one that have its value of the key at a position of ``Layout.keys``."""


@dataclass(frozen=True)
class Layout:
    """What a store keeps of each row, as plain data; features that another definition asks for need another store.

    Attributes:
        id: the column of ids.
        text_ids: whether ids are text; else integers.
        time: the column of the time.
        keys: the columns of each key.
        numbers: the columns of numbers.
        categories: the columns of categories.
        decimals: numbers are kept in units of 10^-decimals.
        delay: age at which a label is known, in microseconds, where the share of frauds among all rows is asked for.
        label_times: a label is known when it was said, not ``delay`` after its row.
    """

    id: str
    text_ids: bool
    time: str
    keys: tuple[tuple[str, ...], ...]
    numbers: tuple[str, ...]
    categories: tuple[str, ...] = ()
    decimals: int = 2
    delay: int | None = None
    label_times: bool = False

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Layout":
        """The layout whose ``dataclasses.asdict`` went through JSON."""
        keys = tuple(tuple(columns) for columns in plain["keys"])
        return cls(**{**plain, "keys": keys, **{name: tuple(plain[name]) for name in ("numbers", "categories")}})


class Live(Protocol):
    """What :class:`fraudlab.serving.history.History` asks of a feature set, besides :class:`.contract.Features`."""

    computed: tuple[str, ...]  # the features that it computes from the past
    labels: tuple[str, ...]  # the table's columns of labels, and of when they were known if there is one

    @property
    def live_fields(self) -> Mapping[str, Mapping[str, Any]]:
        """What the input contract asks of fields, over what it asks where there is no store."""
        ...

    @property
    def layout(self) -> Layout:
        """What is kept. Raises ``UserError`` where the features cannot be had live."""
        ...

    @property
    def reach(self) -> int | None:
        """How far back features look, in microseconds; None: without limit."""
        ...

    @property
    def dated(self) -> bool:
        """Whether times are those of the calendar; else they count from no known day."""
        ...

    @property
    def delay(self) -> int:
        """Age at which a label is known, in microseconds."""
        ...

    def meaning(self, name: str) -> Any:
        """All that values of a computed feature rest on: feature sets that say the same of it compute the same."""
        ...

    def event(self, record: Mapping[str, Any]) -> Event:
        """A record as it is kept. Raises ``WrongField``."""
        ...

    def of_past(self, present: Event, past: PastOf, known: tuple[int, int]) -> Mapping[str, float | None]:
        """The features of one row, as the batch path gives them, from what stands before it.

        ``known`` are the number of rows of any key whose label was known when the day of the row began, and of frauds
        among them; (0, 0) where ``layout.delay`` is None.
        """
        ...

    def events(self, rows: "pl.DataFrame") -> "pl.DataFrame":
        """Rows as they are kept: ``id time key_0 … number_0 … category_0 … known fraud``.

        ``known`` is null where a label is known ``delay`` after its row, ``fraud`` where it is not told. Raises
        ``UserError`` where a column is missing or values are not of their kind.
        """
        ...


def live(features: Any, whose: str) -> Live:
    """The feature set, if a store can keep its past.

    Args:
        features: any feature set.
        whose: what is to be named where it cannot.

    Raises:
        UserError: it cannot.
    """
    if not hasattr(features, "live_fields"):
        raise UserError(f"a history is for features=history, which {whose} has not")
    made: Live = features
    return made
