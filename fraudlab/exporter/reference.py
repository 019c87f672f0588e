"""What a model has learnt from and how it scores, in counts, and how far those vary while nothing drifts."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudlab.bundle.decision import Decision
from fraudlab.features.categories import FIRST
from fraudlab.features.encoder import Arrays, ColumnsByName, TableEncoder
from fraudlab.metrics.calibration import sigmoid
from fraudlab.metrics.drift import Null, needed, roots_by_size, roots_of
from fraudlab.monitoring.cells import UNSEEN, Cells, alerts_of, score_parts, title

Array = NDArray[Any]

_BINS, _TAILS = 20, (0.001, 0.01, 0.99, 0.999)  # of numbers: bins of equal share, and further quantiles that are edges
_MOST_VALUES = 50  # of a categorical column that are counted each for itself
_TOP = (1, 2, 5, 10, 20, 50, 100, 200, 500)  # of 1,000 scores: the lowest of them is an edge
_LOG_ODDS = np.linspace(-12, 12, 241)  # further edges of scores, so that a threshold for any budget is found
_SAMPLE = 50_000  # rows that edges come from
_LEAST_SHARE = 0.005  # of the rows in such a bin or of such a value: rarer ones are frequent by chance
_MOST_WINDOWS, _WINDOWS, _WINDOW_ROWS, _APART = 2048, 64, 128, 4
_BLOCK = 16_384


def sample_of(rows: Array) -> NDArray[np.int64]:
    """Some of ``rows``, spread evenly over them, in order."""
    return rows[sample_positions(len(rows))]


def sample_positions(rows: int) -> NDArray[np.int64]:
    """Where :func:`sample_of` has its rows among all."""
    return np.linspace(0, rows - 1, min(rows, _SAMPLE)).astype(np.int64)


def reference(
    arrays: Arrays, encoder: TableEncoder, raw: ColumnsByName, scores: Array, levels: Array, decision: Decision
) -> dict[str, Any]:
    """Plain data for ``reference.json``.

    Args:
        arrays: the training rows, encoded, in order of time; may be mapped from a file.
        encoder: of the bundle.
        raw: numeric columns of :func:`sample_of` the training rows, as they were before the encoder.
        scores: in [0, 1], by the model that is served, of rows that it has not learnt from, in order of time.
        levels: the risk levels of these rows.
        decision: whose thresholds are edges of the scores.
    """
    columns = {**_categories(arrays, encoder), **_numbers(arrays, encoder, raw)}
    of_scores = _scores(scores, levels, decision)
    cells = Cells(encoder, columns, of_scores["edges"])
    size = _window_rows(len(arrays.numeric))
    windows = _windows(arrays, cells, size, size)
    roots = roots_by_size(windows, size)
    if size > _WINDOW_ROWS:  # so many rows that the smallest windows are too many to be counted all
        few = _windows(arrays, cells, _WINDOW_ROWS, _APART * size)
        roots = {_WINDOW_ROWS: roots_of(windows.sum(axis=0), few, _WINDOW_ROWS), **roots}
    null = Null.fitted(len(windows) * size, roots)
    counts = windows.sum(axis=0, dtype=np.int64)
    for i, (name, of_null) in enumerate(zip(cells.names, null.to_dict(), strict=True)):
        columns[name] |= {"counts": counts[i, : cells.widths[i]].tolist(), "null": of_null}
    further = len(of_scores["null"])
    about = {
        "rows": len(windows) * size,
        "sizes": null.sizes.tolist(),
        "windows": null.windows.tolist(),
        "needed": needed(null.rows, roots, further),
    }
    return {**about, "columns": columns, "scores": of_scores}


def _numbers(arrays: Arrays, encoder: TableEncoder, raw: ColumnsByName) -> dict[str, dict[str, Any]]:
    """Edges of the numeric columns: values that the rows have, as they were and as the encoder has them."""
    sample = arrays.numeric[sample_positions(len(arrays.numeric))]
    found: dict[str, dict[str, Any]] = {}
    for i, name in enumerate(encoder.numeric):
        values = raw[name].to_numpy().astype(np.float64)
        known = np.isfinite(values)
        order = np.argsort(values[known], kind="stable")
        values, encoded = values[known][order], sample[known, i][order]
        at = _quantiles(len(values), len(known))
        edges, first = np.unique(encoded[at], return_index=True)
        found[title("number", name, name in encoder.categorical)] = {
            "kind": "number",
            "edges": [float(f"{value:.6g}") for value in values[at][first]],
            "encoded": edges.tolist(),
        }
    return found


def _quantiles(known: int, rows: int) -> NDArray[np.int64]:
    """Places of edges among the ``known`` values in order, of a column of ``rows`` rows."""
    bins = min(int(known / (_LEAST_SHARE * rows)), _BINS) if known else 0
    shares = np.linspace(0, 1, bins + 1)[1:] if bins else np.ones(min(known, 1))
    shares = np.r_[_TAILS, shares] if bins == _BINS else shares
    return np.unique(np.maximum(np.ceil(np.round(shares * known, 6)).astype(np.int64) - 1, 0))


def _categories(arrays: Arrays, encoder: TableEncoder) -> dict[str, dict[str, Any]]:
    """The most frequent values of the categorical columns, and the share of new ones in the last of the rows."""
    found: dict[str, dict[str, Any]] = {}
    rows = len(arrays.categorical)
    last = rows - rows // 8
    ids = np.ascontiguousarray(np.asarray(arrays.categorical, np.int32).T)
    for name, each, cardinality in zip(encoder.categorical, ids, encoder.cardinalities, strict=True):
        counts = np.bincount(each, minlength=cardinality)
        counts[:FIRST] = 0
        top = np.argsort(-counts, kind="stable")[:_MOST_VALUES]
        first = np.full(cardinality, rows)
        first[each[::-1]] = np.arange(rows)[::-1]
        first[UNSEEN] = rows
        new = (first[each[last:]] >= last) & (each[last:] != 0)
        words = encoder.words(name)
        values = [words[number - FIRST] for number in top if counts[number] >= max(_LEAST_SHARE * rows, 1)]
        found[name] = {"kind": "category", "values": values, "unseen": float(new.mean()) if len(new) else 0.0}
    return found


def _windows(arrays: Arrays, cells: Cells, size: int, apart: int) -> Array:
    """Counts [W, D, K] of windows of ``size`` rows, in order of time, one beginning ``apart`` rows after the other."""
    starts = np.arange(0, len(arrays.numeric) - size + 1, apart)
    width = max(cells.widths, default=2)
    found = np.zeros((len(starts), len(cells.names), width), np.int32)
    for first in range(0, len(starts), step := max(_BLOCK // size, 1)):
        some = starts[first : first + step]
        rows = (some[:, None] + np.arange(size)).ravel()
        codes = cells.codes(Arrays(arrays.categorical[rows], arrays.numeric[rows]))
        which = np.repeat(np.arange(len(some)), size) * width
        for i, code in enumerate(codes):
            found[first : first + step, i] = np.bincount(which + code, minlength=len(some) * width).reshape(-1, width)
    return found


def _window_rows(rows: int) -> int:
    """Many windows, but of more than a few rows, and at least 4."""
    size = max(rows // _MOST_WINDOWS, min(_WINDOW_ROWS, max(rows // _WINDOWS, 8)))
    return max(min(size, rows // 4), 1)


def _scores(scores: Array, levels: Array, decision: Decision) -> dict[str, Any]:
    """Edges, counts and nulls of the scores and of both levels' alerts."""
    falling = np.sort(scores)[::-1]
    thresholds = [decision.thresholds["high"], decision.thresholds["medium"]]
    tops = [falling[max(round(top * len(falling) / 1000), 1) - 1] for top in _TOP]
    told = np.unique([*tops, *thresholds])
    edges = np.unique([*told, *sigmoid(_LOG_ODDS)])
    size = _window_rows(len(scores))
    used = len(scores) // size * size
    at = np.searchsorted(edges, scores[:used], side="right").reshape(-1, size)
    windows = np.stack([np.bincount(row, minlength=len(edges) + 1) for row in at])
    alerts = alerts_of(levels[:used]).reshape(2, -1, size).sum(axis=-1).T
    parts = score_parts(windows, np.searchsorted(edges, told), alerts)
    roots = roots_by_size(parts, size)
    null = Null.fitted(used, roots)
    names = ("scores", "high", "medium")
    return {
        "rows": used,
        "edges": edges.tolist(),
        "told": np.searchsorted(edges, told).tolist(),
        "counts": windows.sum(axis=0).tolist(),
        "alerts": alerts.sum(axis=0).tolist(),
        "sizes": null.sizes.tolist(),
        "windows": null.windows.tolist(),
        "null": dict(zip(names, null.to_dict(), strict=True)),
    }
