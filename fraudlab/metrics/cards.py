"""Card precision: of the cards that investigators look at each day, how many are compromised.

Source: Le Borgne et al., *Reproducible Machine Learning for Credit Card Fraud Detection*, chapter 4, "Precision
top-k metrics".
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class CardDays:
    """What the first k cards of each day hold; arrays of ``[D]``, one entry a day, days ascending.

    Attributes:
        day: the days that have transactions.
        detected: int64, compromised cards among the day's first k.
        compromised: int64, compromised cards of the day not detected on an earlier day: no ranking of this day's
            cards could detect more than min(k, compromised).
        k: cards looked at each day.
    """

    day: Array
    detected: NDArray[np.int64]
    compromised: NDArray[np.int64]
    k: int

    @property
    def precision(self) -> NDArray[np.float64]:
        """Card precision of each day, in [0, 1]: divided by k also on a day with fewer than k cards."""
        return self.detected / self.k


def card_days(day: Array, card: Array, label: Array, score: Array, k: int = 100) -> CardDays:
    """Rank each day's cards by the highest score among the day's transactions and look at the first ``k``.

    A card is compromised *on a day* when any of its transactions of that day is a fraud, not only the one with the
    highest score; frauds of other days do not count. A card detected (among the first k and compromised) is left out
    on all later days, a compromised one that was missed is not. Cards with equal scores stand in ascending order of
    ``card``, so that the order of the rows plays no part. A row without a card (None or NaN) is left out, though its
    day still counts.

    Args:
        day: ``[N]`` integers, any origin; a day without transactions does not count.
        card: ``[N]``, integers or strings.
        label: ``[N]``, 0 or 1.
        score: ``[N]``, finite.
        k: cards looked at each day, at least 1.
    """
    days, day = np.unique(day, return_inverse=True)
    cards, card = _numbered(card)
    known = card >= 0
    key = (day * max(cards, 1) + card)[known]
    order = np.argsort(key)
    key = key[order]
    starts = np.flatnonzero(np.append(True, key[1:] != key[:-1])) if len(key) else np.empty(0, int)
    day, card = np.divmod(key[starts], max(cards, 1))
    highest = np.maximum.reduceat(score[known][order], starts) if len(key) else np.empty(0)
    compromised = np.maximum.reduceat((label == 1)[known][order], starts) if len(key) else np.empty(0, bool)

    found = np.zeros(cards, dtype=bool)
    per_day = np.zeros((2, len(days)), dtype=np.int64)
    bounds = np.searchsorted(day, np.arange(len(days) + 1))
    for i in range(len(days)):
        rows = np.arange(bounds[i], bounds[i + 1])
        rows = rows[~found[card[rows]]]
        first = rows[np.argsort(-highest[rows], kind="stable")[:k]]  # stable: ties stay in ascending order of card
        hits = first[compromised[first]]
        found[card[hits]] = True
        per_day[:, i] = len(hits), compromised[rows].sum()
    return CardDays(days, per_day[0], per_day[1], k)


def card_precision_at_k(day: Array, card: Array, label: Array, score: Array, k: int = 100) -> float:
    """Card precision at k (CP@k), in [0, 1]: the mean over the days of :func:`card_days`' precision.

    NaN where there are no rows.
    """
    precision = card_days(day, card, label, score, k).precision
    return float(precision.mean()) if len(precision) else float("nan")


def _numbered(card: Array) -> tuple[int, NDArray[np.int64]]:
    """Number of distinct cards, and the rank of each row's card among them (-1 = no card)."""
    if card.dtype.kind in "iub":
        distinct, number = np.unique(card, return_inverse=True)
        return len(distinct), number
    values = card.tolist()  # a lookup of Python values is several times faster than sorting an array of objects
    ranks = {value: rank for rank, value in enumerate(sorted({v for v in values if v is not None and v == v}))}
    return len(ranks), np.fromiter((ranks.get(value, -1) for value in values), np.int64, len(values))
