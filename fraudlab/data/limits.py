"""Limits of ``where: <column> < learnt``, learnt from the training rows: beyond them a number alone shows fraud."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudlab.data.sources.contract import Source
from fraudlab.data.splits.registry import split_rows
from fraudlab.errors import UserError
from fraudlab.features.history.rows import units
from fraudlab.features.live import MISSING

log = logging.getLogger(__name__)


def learnt(
    source: Source, conditions: Sequence[tuple[str, str, int]], split: Any, label_delay_days: int
) -> list[float]:
    """The limit of each condition: a column, ``<``, ``<=``, ``>`` or ``>=``, and the decimals that numbers are kept to.

    They rest on the rows of the first fit alone, whose labels are known when validation begins.

    Raises:
        UserError: there is no split, or a column has no such limit.
    """
    if split is None:
        raise UserError("features.of has a limit that is learnt from the training rows: give the split, split=…")
    schema = source.schema
    names = [name for name in (schema.label, schema.time, schema.card, schema.label_time) if name]
    rows = source.frame.select(list(dict.fromkeys([*names, *(column for column, *_ in conditions)]))).collect()
    label, time, card, told = (
        rows[name] if name else None for name in (schema.label, schema.time, schema.card, schema.label_time)
    )
    assert label is not None
    train = split_rows(split, label_delay_days, label, time, card, told).selection_train
    fraud = label.to_numpy()[train] == 1
    limits = []
    for column, operator, decimals in conditions:
        number = units(rows[column], decimals)[train]  # as the condition compares them
        limit = parting(np.where(number == MISSING, np.nan, number / 10.0**decimals), fraud, operator)
        if limit is None:
            raise UserError(f"features.of: no limit of {column} separates the frauds; give a number instead of learnt")
        log.info("features: the limit of %s, learnt from %d training rows, is %g", column, len(train), limit)
        limits.append(limit)
    return limits


def parting(number: NDArray[np.float64], fraud: NDArray[np.bool_], operator: str) -> float | None:
    """The value of ``number`` that separates the frauds best; None if there is none.

    It is the split of a decision tree of depth one (Breiman et al. 1984): it minimises the entropy of the two parts.
    The rows that satisfy the comparison must have the smaller share of frauds.
    """
    known = ~np.isnan(number)
    order = np.argsort(number[known], kind="stable")
    value, label = number[known][order], fraud[known][order]
    last = np.flatnonzero(np.diff(value))  # of equal values, before a larger one
    if not len(last):
        return None
    rows, frauds = (last + 1).astype(np.float64), np.cumsum(label)[last].astype(np.float64)
    others, other_frauds = len(value) - rows, label.sum() - frauds
    below, above = frauds / rows, other_frauds / others
    allowed = below < above if "<" in operator else above < below
    entropy = np.where(allowed, _entropy(rows, frauds) + _entropy(others, other_frauds), np.inf)
    best = int(entropy.argmin())
    if not np.isfinite(entropy[best]):
        return None
    return float(value[last[best] + (operator in ("<", ">="))])


def _entropy(rows: NDArray[np.float64], frauds: NDArray[np.float64]) -> NDArray[np.float64]:
    share = frauds / rows
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = -share * np.log(share) - (1 - share) * np.log1p(-share)
    return rows * np.nan_to_num(parts)
