"""Metrics of a record by week, as they were known at a moment, against plain loops and scikit-learn."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score, precision_score, recall_score, roc_auc_score

from fraudlab import bundle as bundles
from fraudlab.errors import UserError
from fraudlab.monitoring import kept, labels, performance, records
from fraudlab.monitoring.performance_page import page
from tests.conftest import Command

START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
WEEKS, ROWS, MATURE = 9, 400, 21
THRESHOLD = 0.5


def question(week: float, **changes: Any) -> performance.Question:
    asked = {"mature_days": MATURE, "clock": "received", "amount": "amount", "admin_cost": 2.5, **changes}
    return performance.Question(START + timedelta(weeks=week), **asked)


class Service:
    """A record of some weeks, and what is told of it day by day."""

    def __init__(self, folder: Path, seed: int) -> None:
        chance = np.random.default_rng(seed)
        n = WEEKS * ROWS
        self.day = np.sort(chance.random(n) * 7 * WEEKS)
        odds = chance.normal(-2.5, 2.0, n)
        self.score = 1 / (1 + np.exp(-odds))
        self.fraud = chance.random(n) < self.score
        self.delay = 3 + chance.random(n) * 15
        self.amount = chance.gamma(2, 30, n)
        self.revoked = chance.random(n) < 0.05  # of those told
        self.folder = folder
        self.version = "v1"
        self.inputs: list[dict[str, Any]] = [{"amount": float(amount)} for amount in self.amount]
        self.types = {"amount": "number"}
        self.by_amount = False
        self.requests = [f"r{number}" for number in range(n)]

    def write(self, until: float) -> None:
        """What a server has written by then."""
        seen = self.day < until
        alerted = self.amount > 80 if self.by_amount else self.score >= THRESHOLD
        moments = [START + timedelta(days=float(day)) for day in self.day[seen]]
        count = len(moments)
        own: dict[str, Any] = {
            "request_id": self.requests[:count],
            "position": 0,
            "transaction_id": [str(n) if n % 2 else None for n in range(count)],  # every second is named by its answer
            "transaction_time": [moment.replace(tzinfo=None) for moment in moments],
            "scored_at": moments,
            "bundle_version": self.version,
            "instance": "a",
            "raw_score": self.score[seen],
            "score": self.score[seen],
            "risk_level": np.where(alerted[seen], "high", "low"),
            "rule": "money" if self.by_amount else None,
            "high_threshold": THRESHOLD,
            "medium_threshold": 0.2,
            "reasons": None,
            "sample_weight": 1.0,
            "decision": None,
            "input": self.inputs[:count],
        }
        frame = pl.DataFrame(own, schema_overrides=records.dtypes(self.types))
        for (day,), part in frame.group_by(pl.col("scored_at").dt.date()):
            place = self.folder / f"day={day}"
            place.mkdir(parents=True, exist_ok=True)
            part.write_parquet(place / "a_00.parquet")

    def said(self) -> Iterator[tuple[float, int, bool]]:
        """When, of which row, and whether it is fraud."""
        for n in np.flatnonzero(self.fraud):
            yield self.day[n] + self.delay[n], int(n), True
            if self.revoked[n]:
                yield self.day[n] + self.delay[n] + 2, int(n), False

    def tell(self, since: float, until: float) -> None:
        for day, n, fraud in sorted(self.said()):
            if since <= day < until:
                number, request, position = (str(n), None, None) if n % 2 else (None, f"r{n}", 0)
                label = labels.Label(number, request, position, fraud, "bank", None)
                labels.append(self.folder, [label], "bank", START + timedelta(days=day))

    def final(self) -> np.ndarray:
        """By a plain loop: fraud within the delay, and not taken back within it."""
        found = np.zeros(len(self.day), bool)
        for day, n, fraud in sorted(self.said()):
            if day <= self.day[n] + MATURE:
                found[n] = fraud
        return found


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    made = Service(tmp_path_factory.mktemp("record"), seed=1)
    made.write(7 * WEEKS)
    made.tell(0, 1e9)
    return made


def test_weeks_whose_labels_are_final_have_the_metrics_of_scikit_learn(service: Service) -> None:
    report = performance.performance(service.folder, question(WEEKS + MATURE / 7, recovery_share=0.6))
    assert "saves 60% of a fraud" in page(report)
    assert [week["week"] for week in report["weeks"]] == [
        (START + timedelta(weeks=n)).date().isoformat() for n in range(WEEKS)
    ]
    final = service.final()
    for n, week in enumerate(report["weeks"]):
        mine = service.day // 7 == n
        label, score, alerted = final[mine], service.score[mine], service.score[mine] >= THRESHOLD
        assert week["mature"]
        assert week["estimated"] is None
        assert (week["rows"], week["alerts"], week["frauds_told"]) == (mine.sum(), alerted.sum(), label.sum())
        lost = service.amount[mine] * label
        expected = {
            "average_precision": average_precision_score(label, score),
            "roc_auc": roc_auc_score(label, score),
            "precision": precision_score(label, alerted),
            "recall": recall_score(label, alerted),
            "value_recall": lost[alerted].sum() / lost.sum(),
            "saved": 0.6 * lost[alerted].sum() - 2.5 * alerted.sum(),
        }
        for name, value in expected.items():
            assert week["realised"][name]["value"] == pytest.approx(value, rel=1e-12), name
        it = week["realised"]["average_precision"]
        assert it["low"] < it["value"] < it["high"]


def test_what_comes_later_changes_nothing_that_was_known_before(service: Service, tmp_path: Path) -> None:
    """The record as it lay in week 6 gives what the whole record gives as of week 6."""
    early = Service(tmp_path, seed=1)
    early.write(42)
    early.tell(0, 42)
    found = performance.performance(tmp_path, question(6))
    assert found == performance.performance(service.folder, question(6))
    assert [week["mature"] for week in found["weeks"]] == [True] * 3 + [False] * 3
    young = found["weeks"][-1]
    assert young["estimated"]["frauds"]["low"] <= service.final()[service.day // 7 == 5].sum()
    assert young["frauds_told"] < young["estimated"]["frauds"]["value"]
    assert young["told_share"]["value"] < 0.3


def test_the_clock_of_the_transactions_gives_the_same_where_both_agree(service: Service) -> None:
    received, transaction = (
        performance.performance(service.folder, question(8, clock=clock)) for clock in ("received", "transaction")
    )
    assert {**received, "clock": None} == {**transaction, "clock": None}


def test_estimates_are_kept_and_held_against_what_came(tmp_path: Path) -> None:
    service = Service(tmp_path, seed=2)
    service.write(7 * WEEKS)
    service.tell(0, 1e9)
    made = []
    for week in (6, 7, 8):
        made.append(performance.performance(tmp_path, question(week)))
        kept.keep(tmp_path, made[-1])
    assert made[-1]["past_estimates"]["frauds"]["estimates"] == 3  # of weeks 3 and 4, as of weeks 6 and 7
    report = performance.performance(tmp_path, question(WEEKS + MATURE / 7))
    came = {week["week"]: week["realised"] for week in report["weeks"]}
    for name in ("frauds", "average_precision", "precision", "recall", "value_recall", "saved"):
        held = [
            week["estimated"][name]["low"] <= came[week["week"]][name]["value"] <= week["estimated"][name]["high"]
            for each in made
            for week in each["weeks"]
            if week["estimated"]
        ]
        assert report["past_estimates"][name] == {"estimates": 9, "held": np.mean(held)}
    other = performance.performance(tmp_path, question(WEEKS + MATURE / 7, mature_days=20))
    assert other["past_estimates"] == {}  # kept ones are of another meaning of final


def test_a_week_without_an_alert_has_no_precision_and_is_kept(tmp_path: Path) -> None:
    service = Service(tmp_path, seed=5)
    last = service.day >= 7 * (WEEKS - 1)
    service.score[last] = np.minimum(service.score[last], THRESHOLD / 2)
    service.write(7 * WEEKS)
    service.tell(0, 1e9)
    report = performance.performance(tmp_path, question(WEEKS))
    nothing = {"value": None, "low": None, "high": None}
    assert report["weeks"][-1]["estimated"]["precision"] == nothing
    assert report["weeks"][-1]["estimated"]["recall"]["value"] == 0
    kept.keep(tmp_path, report)
    (found,) = kept.reports(tmp_path)
    assert found == report
    later = performance.performance(tmp_path, question(WEEKS + MATURE / 7))
    assert later["past_estimates"]["recall"]["estimates"] == later["past_estimates"]["precision"]["estimates"] + 1
    assert performance.summary(report)
    assert "<td>≈ 0.00 (0.00 to 0.00)</td></tr>" in page(report)  # what these alerts saved


def test_what_cannot_be_told_is_said(service: Service, tmp_path: Path) -> None:
    report = performance.performance(service.folder, question(3))
    assert all(week["estimated"] is None for week in report["weeks"])
    assert "3 weeks or more" in report["weeks"][0]["why_not"]
    assert "3 weeks or more" in performance.summary(report)
    with pytest.raises(UserError, match="no transaction before"):
        performance.performance(service.folder, question(-1))
    with pytest.raises(UserError, match="no transaction before"):
        performance.performance(tmp_path, question(3))  # of a server that nobody has asked yet
    with pytest.raises(UserError, match="no field sum"):
        performance.performance(service.folder, question(3, amount="sum"))
    late = Service(tmp_path, seed=3)
    late.write(7 * WEEKS)
    late.delay[:] = 25.0
    late.tell(0, 1e9)
    labels.append(tmp_path, [labels.Label("nobody", None, None, True, "bank", None)], "bank", START)
    report = performance.performance(tmp_path, question(20))
    assert report["labels_of_no_transaction"] == 1
    assert report["frauds_told_after_maturity"] == late.fraud.sum()
    assert "raise mature_days" in performance.summary(report)


def test_the_command_weighs_by_the_bundles_inputs_and_draws_a_page(
    tmp_path: Path, handbook_bundle: Path, command: Command
) -> None:
    """Large amounts, few before and all in the last week, are fraud more often than their scores say."""
    chance = np.random.default_rng(0)
    service = Service(tmp_path / "record", seed=4)
    bundle = bundles.load(str(handbook_bundle))
    golden = sorted((row["record"] for row in bundle.golden()), key=lambda record: record["TX_AMOUNT"])
    half = len(golden) // 2
    large = np.where(service.day < 7 * (WEEKS - 1), chance.random(len(service.day)) < 0.1, True)
    picked = np.where(large, chance.integers(half, len(golden), len(large)), chance.integers(0, half, len(large)))
    service.inputs = [golden[n] for n in picked]
    service.types = {field["name"]: field["type"] for field in bundle.schema["fields"]}
    service.version = bundle.version
    service.fraud = chance.random(len(large)) < service.score * np.where(large, 0.9, 0.2)
    service.delay[:] = 16.0
    service.write(7 * WEEKS)
    service.tell(0, 1e9)
    words = (f"bundle={handbook_bundle}", f"records={tmp_path}/record", f"mature_days={MATURE}", f"out={tmp_path}/out")
    moment = f"as_of={START + timedelta(weeks=WEEKS):%Y-%m-%d}"
    done = command("performance", *words, moment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "performance.json").read_text())
    frauds = service.fraud[service.day // 7 == WEEKS - 1].sum()
    weighed = report["weeks"][-1]["estimated"]["frauds"]
    alike = performance.performance(tmp_path / "record", question(WEEKS, amount=None))["weeks"][-1]["estimated"][
        "frauds"
    ]
    assert alike["high"] < frauds
    assert weighed["low"] <= frauds
    assert abs(weighed["value"] - frauds) < 0.4 * abs(alike["value"] - frauds)
    assert report["weeks"][0]["realised"]["value_recall"]["value"] is not None  # the bundle knows the amount
    page = (tmp_path / "out" / "performance.html").read_text()
    assert all(week["week"] in page for week in report["weeks"])
    assert "<script" not in page
    assert "http" not in page
    assert len(list((tmp_path / "record" / "_estimates").iterdir())) == 1
    for wrong, said in (("clock=now", "received"), ("mature_days=0", "mature_days"), ("as_of=soon", "ISO 8601")):
        refused = command("performance", *words, wrong, cwd=tmp_path)
        assert (refused.returncode, said in refused.stderr) == (1, True)


def test_labels_mean_what_the_record_says_they_mean(tmp_path: Path) -> None:
    """What was said last counts, however the transaction was named; nothing counts before it is said to happen."""
    service = Service(tmp_path, seed=5)
    service.amount[7] = -3.0
    service.inputs[7] = {"amount": -3.0}
    service.inputs[8] = {"amount": None}
    service.write(7 * WEEKS)
    day = START + timedelta(days=70)
    told = [
        (labels.Label("1", None, None, False, "bank", None), day),
        (labels.Label(None, "r1", 0, True, "analyst", None), day + timedelta(days=1)),  # of the same transaction
        (labels.Label("3", None, None, True, "bank", _micros(START + timedelta(days=900))), day),
        (labels.Label("5", None, None, True, "bank", None), day),
    ]
    for label, at in told:
        labels.append(tmp_path, [label], "t", at)
    report = performance.performance(tmp_path, question(13, mature_days=90))
    known = labels.as_of(tmp_path, START + timedelta(weeks=13))
    assert sum(week["frauds_told"] for week in report["weeks"]) == known["fraud"].sum() == 2
    assert report["transactions_without_amount"] == 2
    assert "count as 0 in money" in performance.summary(report)


def test_where_money_decides_alerts_are_those_of_the_recorded_level(tmp_path: Path) -> None:
    service = Service(tmp_path, seed=7)
    service.by_amount = True
    service.write(7)
    report = performance.performance(tmp_path, question(WEEKS))
    assert report["weeks"][0]["alerts"] == (service.amount > 80)[service.day < 7].sum()


def test_a_place_that_names_several_transactions_labels_none(tmp_path: Path) -> None:
    service = Service(tmp_path, seed=6)
    service.requests = ["batch"] * len(service.day)
    service.write(7)
    labels.append(tmp_path, [labels.Label(None, "batch", 0, True, "bank", None)], "t", START + timedelta(days=8))
    report = performance.performance(tmp_path, question(2))
    assert report["weeks"][0]["frauds_told"] == 0
    assert report["labels_of_no_transaction"] == 1


def _micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
