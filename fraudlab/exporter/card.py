"""What a bundle's model card says of the run: its rows, how its metrics may vary, calibration, importance."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from fraudlab.bundle.decision import Decision
from fraudlab.bundle.runtime import Bundle
from fraudlab.data.prepared import PreparedTable
from fraudlab.data.splits.contract import RowSplit
from fraudlab.features.encoder import Arrays
from fraudlab.metrics.calibration import reliability_curve
from fraudlab.runs.bands import bands_of
from fraudlab.runs.costs import costs_of
from fraudlab.runs.folder import RunFolder

_EXPLAINED = 128  # rows whose scores are explained
_MOST_COLUMNS = 50
_BINS = 10


def of_run(run: RunFolder, config: Any, table: PreparedTable, split: RowSplit, learnt: np.ndarray) -> dict[str, Any]:
    """What the card says of data, split, intervals and what was tried.

    Args:
        run: finished.
        config: its settings.
        table: that it was trained on.
        split: of the table.
        learnt: rows that the tested model has learnt from.
    """
    part = "test" if run.predictions_path("test").is_file() else "val"
    bands = bands_of(run.predictions(part), run.metrics().get(part) or {}, *costs_of(run))
    parts = {"training": learnt, "validation": split.validation, "test": split.test}
    twice = "fitted twice: once before the validation, and again on the training rows below, to be tested"
    once = "fitted once, on the training rows below"
    settings = {key: value for key, value in vars(config.split).items() if value is not None}
    return {
        "data": {
            "fingerprint": table.data_fingerprint,
            "categorical_columns": len(table.categorical),
            "numeric_columns": len(table.numeric),
            "features": config.features.name,
        },
        "split": {
            "settings": {key: str(value) for key, value in settings.items()},
            "label_delay_days": config.label_delay_days,
            "says": twice if run.fitted_twice else once,
            "parts": {name: _about(table, rows) for name, rows in parts.items() if len(rows)},
        },
        "intervals": None
        if bands is None
        else {"part": part, "by": bands.by, "groups": bands.groups, "metrics": dict(bands.metrics)},
        "tried": config.tried,
    }


def of_scores(run: RunFolder, decision: Decision) -> dict[str, Any]:
    """Calibrated scores beside the share of frauds, of the test, or of the validation where that is not scored."""
    part = "test" if run.predictions_path("test").is_file() else "val"
    rows = run.predictions(part)
    scores = decision.calibrate(rows["score"].to_numpy())
    points = zip(*reliability_curve(rows["label"].to_numpy(), scores, _BINS), strict=True)
    kept = [{"score": float(score), "frauds": float(share), "rows": int(count)} for score, share, count in points]
    return {"part": {"test": "test", "val": "validation"}[part], "points": kept}


def importance(bundle: Bundle, rows: Arrays) -> dict[str, Any] | None:
    """Mean share of each column in what scores of some of ``rows`` rest on; None of a model that does not tell."""
    if not bundle.explains or not len(rows.numeric):
        return None
    some = np.linspace(0, len(rows.numeric) - 1, min(_EXPLAINED, len(rows.numeric))).astype(np.int64)
    shares: Mapping[str, float] = bundle.importance(Arrays(rows.categorical[some], rows.numeric[some]))
    columns = [{"name": name, "share": share} for name, share in shares.items() if share > 0]
    return {"rows": len(some), "columns": columns[:_MOST_COLUMNS]}


def _about(table: PreparedTable, rows: np.ndarray) -> dict[str, Any]:
    """Rows, frauds, and the first and the last moment."""
    time = table.schema.time
    about = {"rows": len(rows), "frauds": int(table.label.gather(rows).sum()), "from": None, "to": None}
    if time is None:
        return about
    ends = (
        table.rows(rows, [time])
        .select(pl.col(time).min().alias("from"), pl.col(time).max().alias("to"))
        .row(0, named=True)
    )
    return {**about, **{name: None if value is None else str(value) for name, value in ends.items()}}
