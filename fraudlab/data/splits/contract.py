"""What every split takes and gives."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Rows = np.ndarray  # int64, increasing positions in the table
NO_ROWS: Rows = np.empty(0, np.int64)


@dataclass(frozen=True)
class RowSplit:
    """Row positions, int64 and increasing.

    A model is chosen by fitting ``selection_train`` and scoring ``validation``; the model that is tested on
    ``test`` learns from ``train``. Where the two training sets are one, a single fit does both.

    ``recent`` are rows before ``test`` that the tested model has not learnt from, on which is seen what its scores are
    like: those between ``train`` and ``test``, whose labels are not known yet, and some before ``train`` where that
    begins later than the data. They are chosen as test rows are; fewer than 1,000 are left out.
    """

    selection_train: Rows
    validation: Rows
    train: Rows
    test: Rows
    recent: Rows = field(default_factory=lambda: NO_ROWS)

    @property
    def refit(self) -> bool:
        """Whether the tested model learns from other rows than the one that was chosen."""
        return self.selection_train is not self.train


MakeSplit = Callable[..., RowSplit]
"""Splits the rows of a table sorted by time.

Its arguments are the typed settings, ``label_delay_days`` and the columns ``label`` (0 or 1), ``time`` (date, datetime,
seconds) and ``card``, the latter two None where the table has none. Rows whose labels are not known in time
are left out afterwards, of every split in time.
"""


@dataclass(frozen=True)
class SplitPart:
    """What ``split=<name>`` stands for.

    Attributes:
        make: splits the rows.
        needs_time: whether it is a split in time.
        refits: whether ``train`` has later rows than ``selection_train``.
        label_times: whether ``make`` takes ``label_time=`` too: when each label became known, or None.
    """

    make: MakeSplit
    needs_time: bool = True
    refits: bool = False
    label_times: bool = False
