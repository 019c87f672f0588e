"""A metric of one's own: the largest score of a genuine transaction, in ``metrics.json`` as ``my_metric``."""

from fraudlab.metrics.contract import ScoredRows
from fraudlab.metrics.registry import register_metric


def highest_genuine_score(rows: ScoredRows) -> float | None:
    """In [0, 1], lower is better; None where every row is a fraud."""
    genuine = rows.score[~rows.label]
    return float(genuine.max()) if len(genuine) else None


register_metric("my_metric", highest_genuine_score, higher_is_better=False, heading="top genuine")
