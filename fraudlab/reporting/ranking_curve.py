"""How well the scores of a split rank, threshold by threshold, as a small CSV file for DVC and other plotters."""

from pathlib import Path

import numpy as np
import polars as pl

from fraudlab.files import replacing
from fraudlab.metrics.ranking import Ranking

_POINTS = 200


def write_curve(path: Path, predictions: pl.DataFrame) -> None:
    """Write ``threshold, alerted, recall, precision, false_positive_rate`` of at most 200 thresholds, descending.

    Each is the highest threshold that catches some number of frauds; ``alerted`` is the share of all rows.
    """
    ranking = Ranking(predictions["label"].to_numpy(), predictions["score"].to_numpy())
    caught = np.unique(np.linspace(1, ranking.frauds, _POINTS).astype(int))
    reached = np.unique(np.searchsorted(ranking.caught, caught))
    curve = pl.DataFrame(
        {
            "threshold": ranking.threshold[reached - 1],
            "alerted": ranking.alerts[reached] / ranking.rows,
            "recall": ranking.recall[reached],
            "precision": ranking.caught[reached] / ranking.alerts[reached],
            "false_positive_rate": ranking.false_positive_rate[reached],
        }
    )
    with replacing(path) as aside:
        curve.write_csv(aside)
