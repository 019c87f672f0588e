"""The comparison of both's scores in a record: ties at the budget, weights, and what it cannot say."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score

from fraudlab.errors import UserError
from fraudlab.monitoring import labels, records
from fraudlab.monitoring.challenger import Question, compare, summary

START = datetime(2026, 1, 5, tzinfo=UTC)
FIELDS = [{"name": "amount", "role": "amount"}]


def record(folder: Path, champion: Any, challenger: Any, fraud: Any, **columns: Any) -> Path:
    """A record of one row a second, with what the bank said a day later."""
    count = len(champion)
    own: dict[str, Any] = {
        "request_id": [f"r{n}" for n in range(count)],
        "position": 0,
        "transaction_id": [str(n) for n in range(count)],
        "transaction_time": None,
        "scored_at": [START + timedelta(seconds=n) for n in range(count)],
        "bundle_version": "one",
        "instance": "a",
        "raw_score": champion,
        "score": champion,
        "risk_level": "low",
        "high_threshold": 0.5,
        "medium_threshold": 0.2,
        "reasons": None,
        "sample_weight": 1.0,
        "decision": None,
        "challenger_version": "two",
        "challenger_raw_score": challenger,
        "challenger_score": challenger,
        "challenger_risk_level": "low",
        "challenger_reasons": None,
        "input": [{"amount": 10.0}] * count,
        **columns,
    }
    place = folder / "day=2026-01-05"
    place.mkdir(parents=True)
    pl.DataFrame(own, schema_overrides=records.dtypes({"amount": "number"})).write_parquet(place / "a_00.parquet")
    told = [labels.Label(str(n), None, None, True, "bank", None) for n in np.flatnonzero(fraud)]
    labels.append(folder, told, "bank", START + timedelta(days=1))
    return folder


def asked(folder: Path, **changes: Any) -> dict[str, Any]:
    fields = changes.pop("fields", FIELDS)
    bundle: Any = SimpleNamespace(version="one", schema={"fields": fields})
    about: dict[str, Any] = {
        **{"moment": START + timedelta(days=40), "version": None, "budget": 100.0, "mature_days": 30},
        **{"metric": "recall", "looks": 1, **changes},
    }
    return compare(folder, Question(bundle, **about))[0]


def in_part(score: np.ndarray, fraud: np.ndarray, alerts: int) -> tuple[float, float]:
    """Precision and recall where the last alerts are drawn from a tie."""
    caught, left = 0.0, alerts
    for level in sorted(set(score.tolist()), reverse=True):
        rows = score == level
        taken = min(left, int(rows.sum()))
        caught += fraud[rows].sum() * taken / rows.sum()
        left -= taken
    return caught / alerts, caught / fraud.sum()


def test_a_tie_at_the_budget_promotes_nobody(tmp_path: Path) -> None:
    """Both know the same: that the champion's scores are rounded must not look like alerts that it did not make."""
    draw = np.random.default_rng(1)
    fine = draw.beta(1, 4, 2_000)
    rounded = np.round(fine, 1)
    fraud = draw.random(2_000) < rounded**1.5  # nothing is to be known beyond the rounded score
    report = asked(record(tmp_path / "record", rounded, fine, fraud))
    counts = {side: it["count"] for side, it in report["alerts"].items()}
    assert counts["champion"] < 180 < 200 == counts["challenger"]
    assert report["alerts"]["champion"]["in_a_tie"] == pytest.approx(200 - counts["champion"])
    assert "swap lacks them" in summary(report)
    metrics = report["labels"]["metrics"]
    for side, score in (("champion", rounded), ("challenger", fine)):
        precision, recall = in_part(score, fraud, 200)
        assert metrics["precision"][side] == pytest.approx(precision)
        assert metrics["recall"][side] == pytest.approx(recall)
        assert metrics["value_recall"][side] == pytest.approx(recall)  # all amounts are one
        assert metrics["average_precision"][side] == pytest.approx(average_precision_score(fraud, score))
    assert report["decision"]["verdict"] == "go on"
    drawn = []
    for rows in (draw.integers(0, 2_000, 2_000) for _ in range(300)):
        precision = [average_precision_score(fraud[rows], score[rows]) for score in (rounded, fine)]
        drawn.append(precision[1] - precision[0])
    low, high = np.quantile(drawn, [0.025, 0.975])
    found = metrics["average_precision"]
    assert (found["low"], found["high"]) == pytest.approx((low, high), abs=0.25 * (high - low))
    wide = asked(tmp_path / "record", looks=40)["labels"]["metrics"]["recall"]
    assert wide["low"] < metrics["recall"]["low"] < metrics["recall"]["high"] < wide["high"]


def test_a_row_counts_for_those_that_were_not_recorded(tmp_path: Path) -> None:
    draw = np.random.default_rng(2)
    scores, fraud, weight = draw.random((2, 400)), draw.random(400) < 0.2, np.where(draw.random(400) < 0.5, 2.0, 1.0)
    weighed = asked(record(tmp_path / "weighed", *scores, fraud, sample_weight=weight))
    times = np.repeat(np.arange(400), weight.astype(int))
    whole = asked(record(tmp_path / "whole", *scores[:, times], fraud[times]))
    assert weighed["swap"].keys() == whole["swap"].keys()
    for part, it in weighed["swap"].items():
        assert {**it, "reasons": {}} == {**whole["swap"][part], "reasons": {}}
    for name, it in weighed["labels"]["metrics"].items():
        assert it["difference"] == pytest.approx(whole["labels"]["metrics"][name]["difference"])


def test_what_cannot_be_said_is_named(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    scores, fraud = draw.random((2, 300)), draw.random(300) < 0.2
    late = [START + timedelta(days=20 if score > 0.8 else 0) for score in scores[0]]  # the champion's alerts are young
    versions = {
        "bundle_version": ["one"] * 280 + ["three"] * 20,
        "challenger_version": ["two"] * 250 + ["four"] * 20 + [None] * 30,
    }
    nothing = [{"amount": 0.0}] * 300
    folder = record(tmp_path / "record", *scores, fraud, scored_at=late, input=nothing, **versions)
    report = asked(folder, version="two", metric="precision")
    assert report["transactions"] == 250
    assert (report["unscored"], report["of_other_bundles"], report["of_other_challengers"]) == (10, 20, 20)
    said = summary(report)
    assert "20 transactions since then were answered by other bundles" in said
    assert "20 transactions were scored by other challengers" in said
    assert "precision" not in report["labels"]["metrics"]
    assert report["decision"]["why"] == "one side has no alert with a final label yet"
    of_money = asked(folder, version="two", metric="value_recall")["decision"]
    assert of_money["why"] == "no fraud with a final label has an amount above 0"
    assert "by money" not in said
    by_money = record(tmp_path / "by_money", *scores, fraud, rule="money")
    assert "alerts are compared by score alone" in summary(asked(by_money))
    unlabelled = asked(folder, version="two", mature_days=None)
    assert (unlabelled["labels"], unlabelled["decision"]["why"]) == (None, "labels were not looked at")
    early = asked(folder, version="two", moment=START + timedelta(days=21))["decision"]
    assert early["why"] == "no final labels of frauds and genuine transactions yet"
    with pytest.raises(UserError, match="which bundle one does not have; take metric=recall"):
        asked(folder, metric="value_recall", fields=[])
