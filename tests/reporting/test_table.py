import pytest

from fraudlab.metrics.registry import headings
from fraudlab.reporting.published import BENCHMARKS
from fraudlab.reporting.table import metrics_table

RESAMPLED_METRICS = {
    "val": dict.fromkeys(headings(), 0.5),
    "test": dict(zip(headings(), (0.88123, 0.7004, None, 0.65, 0.51, 0.00312), strict=True)),
    "train": {"seconds": 3.0},
}


def test_handbook_table():
    table = metrics_table(RESAMPLED_METRICS, BENCHMARKS["handbook"], simulated=True)
    assert table == "\n".join(
        [
            "Metrics on simulated data; below the gap: Fraud Detection Handbook, on its test split",
            "",
            "                               AUC ROC      AP  CP@100  recall@1% FPR  recall@0.1% FPR   Brier",
            "-" * 94,
            "val (this run)                  0.5000  0.5000  0.5000         0.5000           0.5000  0.5000",
            "test (this run)                 0.8812  0.7004       -         0.6500           0.5100  0.0031",
            "",
            "logistic regression (ch. 3)      0.871   0.606   0.291              -                -       -",
            "random forest, tuned (ch. 5)     0.870   0.678   0.299              -                -       -",
            "XGBoost, tuned (ch. 5)           0.869   0.687   0.303              -                -       -",
            "neural network, tuned (ch. 7)    0.876   0.675   0.303              -                -       -",
            "",
            "CP@100 is -: it needs a card and a time of each transaction (data.card, data.time)",
        ]
    )
    assert max(map(len, table.splitlines())) <= 100


def test_without_benchmark_and_without_simulation():
    table = metrics_table({"test": RESAMPLED_METRICS["test"]})
    assert "simulated" not in table
    assert "val" not in table
    assert "CP@100 is -" in table
    assert "CP@100 is -" not in metrics_table({"val": RESAMPLED_METRICS["val"]})


def test_best_of_the_book():
    best = {"roc_auc": 0.876, "average_precision": 0.687, "card_precision_at_100": 0.303}
    assert BENCHMARKS["handbook"].best() == pytest.approx(best)


def test_every_published_figure_is_a_column_and_has_a_source():
    for benchmark in BENCHMARKS.values():
        for model in benchmark.models:
            assert set(model.metrics) <= set(headings())
            assert model.source
            assert model.url.startswith("https://")
