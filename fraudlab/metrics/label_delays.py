"""How late labels come, and how often they are taken back, from rows that are too young to have all of theirs."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class KnownRows:
    """Scored rows and what is known of their labels at one moment, ``[N]`` each.

    Attributes:
        week: number of the week in which a row was scored.
        score: in [0, 1].
        age: days since it was scored.
        told: days from its scoring to the word that it is fraud; NaN where none came.
        revoked: days from its scoring to the word that it is not; NaN where none came.
        alerted: whether it was at the level that analysts look at.
        weight: rows that it stands for.
        amount: 0 or more; None where the table has none.
    """

    week: NDArray[np.int64]
    score: NDArray[np.float64]
    age: NDArray[np.float64]
    told: NDArray[np.float64]
    revoked: NDArray[np.float64]
    alerted: NDArray[np.bool_]
    weight: NDArray[np.float64]
    amount: NDArray[np.float64] | None = None

    def where(self, mine: NDArray[np.bool_]) -> "KnownRows":
        """Those of the rows."""
        return replace(self, **{name: values[mine] for name, values in vars(self).items() if values is not None})

    def final_fraud(self, horizon: float) -> NDArray[np.bool_]:
        """Whether each row is fraud by what was told within ``horizon`` days."""
        return (self.told <= horizon) & ~(self.revoked <= horizon)


def arrivals(rows: KnownRows, horizon: int) -> tuple[Array, Array]:
    """By day of delay: frauds that were told then, and frauds told by then whose age lets that day be seen."""
    use = (rows.told <= horizon) & ~(rows.revoked <= horizon)
    day = np.ceil(rows.told[use]).astype(np.int64)
    reach = np.minimum(np.floor(rows.age[use]), horizon).astype(np.int64)
    weight = rows.weight[use] / (rows.weight[use].mean() if use.any() else 1.0)
    told = np.bincount(np.minimum(day, horizon), weight, minlength=horizon + 1)
    # Told by d, and at least d days old: those told by d, less those whose age ends before d.
    ended = np.concatenate([[0.0], np.cumsum(np.bincount(reach, weight, minlength=horizon + 1))[:-1]])
    return told, np.cumsum(told) - np.minimum(ended, np.cumsum(told))


def told_by(arrivals: tuple[Array, Array], chance: np.random.Generator | None) -> Array:
    """Share of frauds that is told within 0, 1, ... days; drawn around the estimate where ``chance`` is given."""
    told, could = arrivals
    hazard = np.divide(told, could, out=np.zeros_like(told), where=could > 0)
    if chance is not None:
        hazard = np.where(told > 0, chance.beta(np.maximum(told, 1e-9), np.maximum(could - told, 0) + 1e-9), 0.0)
        hazard[np.argmax(could > 0)] = 1.0
    left = np.cumprod((1 - np.minimum(hazard, 1.0))[::-1])[::-1]
    return np.append(left[1:], 1.0)


def kept(rows: KnownRows, horizon: int) -> Array:
    """Share of told frauds that is not taken back within 0, 1, ... days of the word."""
    told = rows.told <= horizon
    seen = np.minimum(rows.age, horizon)[told] - rows.told[told]
    gone = rows.revoked[told] - rows.told[told]
    taken = gone <= seen
    until = np.ceil(np.where(taken, gone, seen)).clip(0, horizon).astype(np.int64)
    events = np.bincount(until, taken, minlength=horizon + 1)
    at_risk = len(until) - np.concatenate([[0], np.cumsum(np.bincount(until, minlength=horizon + 1))[:-1]])
    return np.cumprod(1 - np.divide(events, at_risk, out=np.zeros(horizon + 1), where=at_risk > 0))
