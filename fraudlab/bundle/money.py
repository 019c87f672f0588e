"""A decision by money: an alert where it is expected to recover more than it costs, by each transaction's amount."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fraudlab.errors import UserError
from fraudlab.metrics.cost import worth_alert

if TYPE_CHECKING:  # a record is scored without it
    import polars as pl

Array = NDArray[Any]


@dataclass(frozen=True)
class Money:
    """The rule of a bundle that decides by money.

    Attributes:
        amount: the table's column of amounts.
        admin_cost: of an alert, above 0, in the currency of the amounts.
        recovery_share: of a fraud's amount, what an alert recovers, above 0 and at most 1.

    Raises:
        ValueError: a number is out of its range.
    """

    amount: str
    admin_cost: float
    recovery_share: float

    def __post_init__(self) -> None:
        if not (0 < self.admin_cost < np.inf and 0 < self.recovery_share <= 1):
            raise ValueError(f"money {asdict(self)} has costs out of range")

    @staticmethod
    def decides(amount: Array) -> NDArray[np.bool_]:
        """Of which rows, ``[N]``, by their amounts: not where one is missing (NaN), infinite or negative."""
        amount = np.asarray(amount, np.float64)
        return np.isfinite(amount) & (amount >= 0)

    def worth(self, score: Array, amount: Array) -> NDArray[np.bool_]:
        """Which rows, ``[N]``, are worth an alert, by calibrated score and amount."""
        return self.decides(amount) & worth_alert(score, amount, self.admin_cost, self.recovery_share)

    def alerts_per_1000(self, score: Array, amount: Array) -> float:
        """Of the rows with an amount.

        Raises:
            UserError: none has one, or none is worth an alert.
        """
        known, worth = self.decides(amount), self.worth(score, amount)
        if not worth.any():
            why = f"none of {known.sum():,} recent rows is worth {self.admin_cost:g}, the cost of an alert"
            if not known.any():
                why = f"none of {len(known):,} recent rows has a {self.amount} of 0 or more"
            raise UserError(
                f"medium_money=true would make no alerts: {why}; train with the right admin_cost and data.amount, "
                "or leave it out for medium_per_1000"
            )
        return 1000 * float(worth[known].mean())

    def words(self) -> str:
        """The rule in words."""
        share = "" if self.recovery_share == 1 else f" x {self.recovery_share:g}"
        return f"alerts where score x {self.amount}{share} is above {self.admin_cost:g}, the cost of an alert"


def amounts_of(column: "pl.Series") -> NDArray[np.float64]:
    """The amounts of a table's rows, ``[N]``; NaN where one is missing or no number."""
    import polars as pl

    return column.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
