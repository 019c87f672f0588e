"""Golden records: raw transactions of the validation split, to be scored again wherever a bundle is loaded."""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from fraudlab.data.prepared import PreparedTable

GOLDEN_RECORDS = 64


def golden_rows(rows: np.ndarray, label: pl.Series) -> np.ndarray:
    """Rows spread evenly over ``rows``, a quarter of them frauds if there are so many."""
    fraud = rows[label.gather(rows).to_numpy() == 1]
    picked = [
        part[np.linspace(0, len(part) - 1, min(count, len(part))).astype(np.int64)]
        for part, count in ((fraud, GOLDEN_RECORDS // 4), (rows, GOLDEN_RECORDS - GOLDEN_RECORDS // 4))
        if len(part)
    ]
    return np.unique(np.concatenate(picked))


def records_of(
    table: PreparedTable, rows: np.ndarray, names: Sequence[str], as_read: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Rows as raw records, in values that JSON has; ``as_read`` names the columns that keep raw values."""
    frame = table.rows(rows, [as_read.get(name, name) for name in names]).rename({as_read.get(n, n): n for n in names})
    return [{name: _plain(value) for name, value in row.items()} for row in frame.to_dicts()]


def write_golden(path: Path, records: Sequence[dict[str, Any]], scores: np.ndarray) -> None:
    """Write records and their expected scores, one a line."""
    lines = [
        json.dumps({"record": record, "score": score}, allow_nan=False)
        for record, score in zip(records, scores.tolist(), strict=True)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, date):  # a datetime is one too
        return value.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value
