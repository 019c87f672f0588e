"""What a model has learnt from, in histograms: served transactions that drift away from it can be told by them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from fraudlab.metrics.drift import counts_between, quantile_edges

_BINS = 20
_MOST_VALUES = 50  # of a categorical column that are counted each for itself


def reference(
    frame: pl.DataFrame, categorical: Sequence[str], numeric: Sequence[str], scores: np.ndarray
) -> dict[str, Any]:
    """Histograms, plain data for ``reference.json``.

    Args:
        frame: the training rows.
        categorical: columns whose values are counted, the 50 most frequent each for itself.
        numeric: columns whose numbers are counted between the ``edges``, their quantiles, as
            :func:`fraudlab.metrics.drift.counts_between` does; there is one count more than edges.
        scores: in [0, 1], by this model, of rows that it has not learnt from; counted in bins of equal width.
    """
    edges = np.linspace(0.0, 1.0, _BINS + 1)
    return {
        "rows": len(frame),
        "numeric": {name: _of_numbers(frame[name]) for name in numeric},
        "categorical": {name: _of_values(frame[name]) for name in categorical},
        "scores": {"edges": edges.tolist(), "counts": np.histogram(scores, edges)[0].tolist()},
    }


def _of_numbers(column: pl.Series) -> dict[str, Any]:
    values = column.cast(pl.Float64).to_numpy()
    known = values[np.isfinite(values)]
    edges = quantile_edges(known, _BINS) if len(known) else known
    counts = counts_between(edges, known)
    return {"edges": edges.tolist(), "counts": counts.tolist(), "missing": len(values) - len(known)}


def _of_values(column: pl.Series) -> dict[str, Any]:
    known = column.cast(pl.String).drop_nulls()
    counts = known.value_counts(sort=True).head(_MOST_VALUES)
    values = dict(zip(counts[column.name].to_list(), counts["count"].to_list(), strict=True))
    return {"values": values, "other": len(known) - sum(values.values()), "missing": column.null_count()}
