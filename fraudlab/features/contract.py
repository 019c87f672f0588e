"""What a feature set takes and gives."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray

from fraudlab.schema import TableSchema

if TYPE_CHECKING:
    import polars as pl


Lookups = Mapping[str, NDArray[Any]]


class Features(Protocol):
    """What turns a table's raw columns into the columns that an encoder reads.

    A set whose table need not fit into memory has ``stretches(frame, folder, memory, engine)`` too: what ``parts``
    gives, each as a ``count`` of stretches of consecutive rows that ``make(number)`` makes in ``memory`` bytes. Tasks
    of the engine make them in so many bytes of memory, with the help of files in ``folder``.
    """

    categorical: tuple[str, ...]
    numeric: tuple[str, ...]
    version: int  # raised whenever the same settings give other values

    def parts(self, frame: "pl.LazyFrame") -> "Iterator[pl.DataFrame]":
        """The columns to be added to a frame in order of time, a few at a time, so that a large table fits."""
        ...

    def lookups(self, frame: "pl.LazyFrame") -> dict[str, NDArray[Any]]:
        """What :meth:`of_record` has to know of the rows of ``frame``; empty where features are of the row alone."""
        ...

    def of_record(self, record: Mapping[str, Any], lookups: Lookups) -> dict[str, Any]:
        """The columns of one record, as the row that follows the rows of ``lookups`` would have them."""
        ...

    def of_records(self, records: "pl.DataFrame", lookups: Lookups) -> "pl.DataFrame":
        """The columns of many records, a row each, with the values that :meth:`of_record` finds one by one."""
        ...


MakeFeatures = Callable[[Mapping[str, Any], TableSchema], Features]
"""Gives the feature set of plain settings, all of ``features`` but ``encoder``, for a table. It raises ``UserError``
where the table has not the columns that they need."""


def with_features(features: Features, frame: "pl.LazyFrame") -> "pl.DataFrame":
    """``frame``, in order of time, with the features' columns added."""
    whole = frame.collect()
    for part in features.parts(whole.lazy()):
        whole = whole.hstack(part)
    return whole
