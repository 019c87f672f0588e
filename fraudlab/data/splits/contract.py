"""The interface of a split."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np

from fraudlab.errors import UserError

Rows = np.ndarray  # int64, increasing positions in the table
NO_ROWS: Rows = np.empty(0, np.int64)


@dataclass(frozen=True)
class RowSplit:
    """Row positions, int64 and increasing.

    A model is chosen by fitting on ``selection_train`` and scoring ``validation``; the model that is tested on
    ``test`` is fitted on ``train``. If the two training sets are equal, a single fit serves both.

    ``recent`` are rows before ``test`` that the tested model was not fitted on; they show its distribution of scores:
    the rows between ``train`` and ``test``, whose labels are not known yet, and some rows before ``train`` if it
    begins later than the data. They are chosen like test rows; fewer than 1,000 are left out.
    """

    selection_train: Rows
    validation: Rows
    train: Rows
    test: Rows
    recent: Rows = field(default_factory=lambda: NO_ROWS)

    @property
    def refit(self) -> bool:
        """Whether the tested model is fitted on other rows than the chosen model."""
        return self.selection_train is not self.train


MakeSplit = Callable[..., RowSplit]
"""Splits the rows of a table sorted by time.

Its arguments are the typed settings, ``label_delay_days`` and the columns ``label`` (0 or 1), ``time`` (date, datetime,
seconds) and ``card``, the latter two None where the table has none. Rows whose labels are not known in time
are left out afterwards, of every split in time.
"""


@dataclass(frozen=True)
class Window:
    """Whole days from ``start`` on and before ``stop``, of a table whose first day is ``first``.

    Days are numbers, from 1970-01-01 on where ``dates``, else as ``time`` in seconds counts them. ``fresh`` says that
    the tested model has learnt from no rows before those of the layout.
    """

    start: int
    stop: int
    first: int
    dates: bool
    fresh: bool = True

    def named(self, day: int) -> str:
        """A day in the form of the settings."""
        return str(date(1970, 1, 1) + timedelta(days=day)) if self.dates else str(day)

    def number(self, named: str, key: str) -> int:
        """The day that the setting ``key`` gives.

        Raises:
            UserError: it is not a day on this table's clock.
        """
        try:
            return (date.fromisoformat(named) - date(1970, 1, 1)).days if self.dates else int(named)
        except ValueError:
            form = "a date, as 2018-07-25" if self.dates else "a whole number of days, since time is in seconds"
            raise UserError(f"{key}={named} must be {form}") from None


@dataclass(frozen=True)
class SplitPart:
    """The registry entry of ``split=<name>``.

    Attributes:
        make: splits the rows.
        needs_time: whether it is a split in time.
        refits: whether ``train`` has later rows than ``selection_train``.
        label_times: whether ``make`` takes ``label_time=`` too: when each label became known, or None.
        moved: of the settings, ``label_delay_days`` and a :class:`Window`, gives the settings of the same layout that
            is tested on that window; None where a layout cannot be moved through time.
    """

    make: MakeSplit
    needs_time: bool = True
    refits: bool = False
    label_times: bool = False
    moved: Callable[[Any, int, Window], Any] | None = None
