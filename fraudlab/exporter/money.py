"""The rule by money that a run's bundle decides by."""

import numpy as np
import polars as pl

from fraudlab.bundle.money import Money
from fraudlab.errors import UserError
from fraudlab.metrics.metrics import ADMIN_COST
from fraudlab.runs.folder import RunFolder
from fraudlab.runs.settings import load_config, read_settings


def money_of(run: RunFolder, amount: str | None) -> Money:
    """The rule, with the costs that the run or the blend was told.

    Args:
        run: finished.
        amount: the table's column of amounts.

    Raises:
        UserError: there are no amounts, an alert costs nothing, or scores are no probabilities.
    """
    if amount is None:
        raise UserError("medium_money=true needs amounts, and the table has none; name their column: data.amount")
    fitted = [member for member, _ in run.members] or [run]
    if any(load_config(each.config_path).loss.name == "expected_cost" for each in fitted):
        raise UserError("medium_money=true needs probabilities of fraud, and scores of loss=expected_cost are none")
    told = read_settings(run.config_path)
    costs = float(told.get("admin_cost", ADMIN_COST)), float(told.get("recovery_share", 1.0))
    if not costs[0]:
        raise UserError("medium_money=true: with admin_cost=0 every alert would pay; train with what an alert costs")
    return Money(amount, *costs)


def amounts_of(predictions: pl.DataFrame) -> np.ndarray:
    """Amounts float64 of predictions; NaN where there is none."""
    return predictions["amount"].cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
