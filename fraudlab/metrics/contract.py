"""What every metric takes and gives."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudlab.metrics.ranking import Ranking

Array = NDArray[Any]


@dataclass(frozen=True)
class ScoredRows:
    """The rows of a split with their scores, checked.

    Attributes:
        label: ``[N]`` boolean, whether a row is a fraud.
        score: ``[N]`` float64 in [0, 1], probability of fraud.
        ranking: the rows from the most to the least suspicious.
        day: ``[N]`` integers; None where not known.
        card: ``[N]`` integers or strings; None where not known.
        amount: ``[N]``, 0 or more; None where not known.
        cost_threshold: rows with at least this score are flagged; None where none was chosen.
        admin_cost: cost of one alert, in the currency of ``amount``, or of an alert on each row, ``[N]``.
        recovery_share: of a fraud's amount, what an alert saves.
    """

    label: NDArray[np.bool_]
    score: NDArray[np.float64]
    ranking: Ranking
    day: Array | None
    card: Array | None
    amount: Array | None
    cost_threshold: float | None
    admin_cost: float | Array
    recovery_share: float = 1.0


@dataclass(frozen=True)
class MetricPart:
    """A metric of ``metrics.json``.

    Attributes:
        measure: gives it of the rows of a split; None or NaN where it is not defined of them.
        higher_is_better: None of a number that only describes the rows.
        heading: of its column in tables; empty for a metric that no table shows.
    """

    measure: Callable[[ScoredRows], float | int | None]
    higher_is_better: bool | None = True
    heading: str = ""
