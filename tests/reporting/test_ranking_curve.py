"""A curve's file against scikit-learn."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import precision_score, recall_score

from fraudlab.reporting.ranking_curve import write_curve


def test_each_point_is_what_its_threshold_gives(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    score = random.random(20_000).round(3)  # with ties
    label = (random.random(20_000) < 0.1 * score).astype(int)
    write_curve(tmp_path / "test.csv", pl.DataFrame({"label": label, "score": score}))
    curve = pl.read_csv(tmp_path / "test.csv")
    assert 100 < len(curve) <= 200
    assert curve["threshold"].is_sorted(descending=True)
    assert curve["recall"][-1] == 1
    for row in curve.gather_every(20).iter_rows(named=True):
        alerted = score >= row["threshold"]
        assert row["alerted"] == pytest.approx(alerted.mean())
        assert row["recall"] == pytest.approx(recall_score(label, alerted))
        assert row["precision"] == pytest.approx(precision_score(label, alerted))
        assert row["false_positive_rate"] == pytest.approx(alerted[label == 0].mean())
