"""The risk levels of records, by their scores and, where the bundle decides by money, by their amounts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudlab.bundle.money import Array, Money
from fraudlab.bundle.runtime import Bundle

MONEY, THRESHOLDS = "money", "thresholds"
"""What decided about a row of a bundle that decides by money; thresholds do where no amount is known."""


def decided(bundle: Bundle, scores: Array, records: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """``risk_level`` of each record and, of a bundle that decides by money, by which ``rule``.

    Args:
        bundle: that scored them.
        scores: calibrated, ``[n]``.
        records: raw ones, ``n``.
    """
    decision = bundle.decision
    if decision.money is None:
        return [{"risk_level": decision.level(score)} for score in scores.tolist()]
    amount = amounts(bundle, decision.money, records)
    levels, rules = decision.levels(scores, amount), rules_of(amount)
    return [{"risk_level": str(level), "rule": rule} for level, rule in zip(levels, rules, strict=True)]


def amounts(bundle: Bundle, money: Money, records: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """The amounts of raw records, ``[n]``; NaN where one is missing or no number."""
    values = (bundle.reading.value(record, money.amount) for record in records)
    return np.array([_number(value) for value in values], np.float64)


def rules_of(amount: Array) -> list[str]:
    """What decided about rows with these amounts."""
    return [MONEY if by_money else THRESHOLDS for by_money in Money.decides(amount).tolist()]


def _number(value: Any) -> float:
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else np.nan
    except OverflowError:
        return np.nan
