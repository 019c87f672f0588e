import json
import subprocess
import sys

import numpy as np
import pytest

from fraudlab.errors import UserError
from fraudlab.metrics.cards import card_precision_at_k
from fraudlab.metrics.cost import best_cost_threshold, cost_savings, value_detection_rate
from fraudlab.metrics.metrics import compute_metrics
from fraudlab.metrics.ranking import average_precision, precision_at_budget, recall_at_budget, recall_at_fpr, roc_auc

KEYS = [
    "rows",
    "frauds",
    "fraud_rate",
    "roc_auc",
    "average_precision",
    "card_precision_at_100",
    "recall_at_fpr_0.01",
    "recall_at_fpr_0.001",
    "precision_at_budget_0.01",
    "recall_at_budget_0.01",
    "precision_at_budget_0.001",
    "recall_at_budget_0.001",
    "value_detection_rate_at_budget_0.01",
    "brier",
    "log_loss",
    "expected_calibration_error",
    "cost_savings",
    "cost_threshold",
]


@pytest.fixture
def split():
    rng = np.random.default_rng(3)
    label = (rng.random(5000) < 0.02).astype(np.int8)
    return {
        "label": label,
        "score": np.clip(rng.beta(1, 20, 5000) + 0.3 * label * rng.random(5000), 0, 1),
        "day": rng.integers(17700, 17707, 5000),
        "card": rng.integers(0, 900, 5000),
        "amount": rng.gamma(1, 50, 5000),
    }


def test_each_figure_is_that_of_its_function(split):
    label, score, amount = split["label"], split["score"], split["amount"]
    threshold = best_cost_threshold(label, score, amount, 5.0)
    found = compute_metrics(**split, cost_threshold=threshold, admin_cost=5.0)
    assert list(found) == KEYS
    assert (found["rows"], found["frauds"]) == (5000, label.sum())
    assert found["roc_auc"] == roc_auc(label, score)
    assert found["average_precision"] == average_precision(label, score)
    assert found["card_precision_at_100"] == card_precision_at_k(split["day"], split["card"], label, score)
    assert found["recall_at_fpr_0.001"] == recall_at_fpr(label, score, 0.001)
    assert found["precision_at_budget_0.001"] == precision_at_budget(label, score, 0.001)
    assert found["recall_at_budget_0.01"] == recall_at_budget(label, score, 0.01)
    assert found["value_detection_rate_at_budget_0.01"] == value_detection_rate(label, score, amount, 0.01)
    assert found["cost_savings"] == cost_savings(label, score, amount, threshold, 5.0)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_order_and_type_of_the_rows_play_no_part(split):
    order = np.random.default_rng(0).permutation(5000)
    found = compute_metrics(**split, cost_threshold=0.2)
    shuffled = compute_metrics(**{name: array[order] for name, array in split.items()}, cost_threshold=0.2)
    assert shuffled == pytest.approx(found, rel=1e-12)
    assert compute_metrics(**split | {"label": split["label"].astype(bool)}, cost_threshold=0.2) == found
    assert compute_metrics(**split | {"card": split["card"].astype(str)})["card_precision_at_100"] is not None


def test_what_is_undefined_is_none(split):
    bare = compute_metrics(split["label"], split["score"])
    assert {name for name, value in bare.items() if value is None} == {
        "card_precision_at_100",
        "value_detection_rate_at_budget_0.01",
        "cost_savings",
        "cost_threshold",
    }
    genuine = compute_metrics(**split | {"label": np.zeros(5000)}, cost_threshold=0.2)
    assert genuine["roc_auc"] is genuine["average_precision"] is genuine["recall_at_fpr_0.01"] is None
    assert genuine["precision_at_budget_0.01"] == 0.0
    json.dumps(genuine, allow_nan=False)
    fraud = compute_metrics(np.array([1]), np.array([0.5]))
    assert list(fraud) == KEYS
    assert (fraud["roc_auc"], fraud["average_precision"]) == (None, 1.0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"score": np.full(4999, 0.5)}, "score has shape"),
        ({"score": np.full((5000, 1), 0.5)}, "score has shape"),
        ({"score": np.full(5000, np.nan)}, "probabilities, not logits"),
        ({"score": np.full(5000, 1.5)}, "probabilities, not logits"),
        ({"label": np.full(5000, 2)}, "other than 0 and 1"),
        ({"label": np.full(5000, np.nan)}, "other than 0 and 1"),
        ({"label": np.empty(0)}, "at least one row"),
        ({"day": np.full(5000, 0.5)}, "whole days"),
        ({"day": np.zeros(3, int)}, "day has shape"),
        ({"card": np.zeros(3, int)}, "card has shape"),
        ({"amount": np.full(5000, -1.0)}, "amount must be finite"),
        ({"amount": np.full(5000, np.inf)}, "amount must be finite"),
        ({"admin_cost": -1.0}, "admin_cost=-1.0"),
        ({"admin_cost": float("nan")}, "admin_cost=nan"),
        ({"admin_cost": np.full(5000, np.nan)}, "missing, infinite or negative in some rows"),
        ({"admin_cost": np.ones(3)}, "one cost, or one a row"),
        ({"recovery_share": 0.0}, "recovery_share=0.0"),
        ({"recovery_share": 1.5}, "recovery_share=1.5"),
    ],
)
def test_wrong_input_is_named(split, changed, message):
    with pytest.raises(UserError, match=message):
        compute_metrics(**split | changed)


def test_metrics_need_numpy_alone():
    code = (
        "import sys, fraudlab.metrics.metrics\n"
        "print(sorted({'sklearn', 'polars', 'torch', 'scipy', 'pandas', 'lightning', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
