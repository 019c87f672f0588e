"""Counts by cell against plain counting, what is said of alerts, and the command on files and on servers' answers."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from fraudlab import bundle as bundles
from fraudlab.bundle.decision import Decision
from fraudlab.bundle.money import Money
from fraudlab.config import DriftConfig
from fraudlab.errors import UserError
from fraudlab.exporter.reference import reference, sample_positions
from fraudlab.features.encoder import Arrays, TableEncoder
from fraudlab.monitoring.cells import Cells
from fraudlab.monitoring.counts import Counts
from fraudlab.monitoring.drift import Reference, summary
from fraudlab.monitoring.page import publish
from tests.conftest import Command

OLD = Path(__file__).parents[1] / "compat" / "fixtures" / "format_1" / "bundle_with_masks"
DECISION = Decision(None, {"medium": 0.6, "high": 0.8}, {"medium": 50.0, "high": 10.0}, [])


class Bundle:
    """A bundle as far as drift is judged by it."""

    path, version, decision = Path("somewhere"), "v", DECISION

    def __init__(self, encoder: TableEncoder, content: dict[str, Any]) -> None:
        self.encoder = encoder
        self.reference = json.loads(json.dumps(content, allow_nan=False))


def table(rows: int, seed: int, shift: float = 0.0) -> tuple[pl.DataFrame, np.ndarray]:
    draw = np.random.default_rng(seed)
    amount = np.exp(draw.normal(shift, 1, rows)).round(2)
    kind = draw.choice(["a", "b", "c"], rows, p=[0.7, 0.2, 0.1]).astype(object)
    rare = draw.integers(0, 400, rows).astype(str)
    frame = pl.DataFrame(
        {
            "amount": np.where(draw.random(rows) < 0.1, np.nan, amount),
            "kind": pl.Series(np.where(draw.random(rows) < 0.05, None, kind).tolist(), dtype=pl.String),
            "rare": rare,
            "both": draw.integers(0, 6, rows),
        }
    )
    return frame, draw.beta(1 + shift, 12, rows)


CATEGORICAL, NUMERIC = ["kind", "rare", "both"], ["amount", "both"]


@pytest.fixture(scope="module")
def made() -> tuple[Bundle, pl.DataFrame]:
    frame, scores = table(20_000, 0)
    encoder = TableEncoder.fit(frame, CATEGORICAL, NUMERIC)
    raw = frame[sample_positions(len(frame)).tolist()]
    decision = Decision(None, {"medium": float(np.quantile(scores, 0.95)), "high": float(np.quantile(scores, 0.99))},
                        DECISION.budget, [])  # fmt: skip
    levels = decision.levels(scores)
    bundle = Bundle(encoder, reference(encoder.transform(frame), encoder, raw, scores, levels, decision))
    bundle.decision = decision
    return bundle, frame


def test_counts_are_those_of_plain_counting_and_add_up(made: tuple[Bundle, pl.DataFrame]) -> None:
    bundle, _ = made
    judge = Reference(bundle)  # type: ignore[arg-type]
    assert judge.cells.names == ["kind", "rare", "both", "amount", "both (number)"]
    frame, scores = table(3000, 1)
    frame = frame.with_columns(kind=pl.when(pl.int_range(pl.len()) < 30).then(pl.lit("new")).otherwise("kind"))
    weights = np.random.default_rng(2).choice([1.0, 4.0], 3000)
    arrays = bundle.encoder.transform(frame)
    levels = bundle.decision.levels(scores)
    counts = judge.cells.count(arrays, scores, levels, weights)
    kinds = frame["kind"].to_list()
    for value, count in zip(
        [*bundle.reference["columns"]["kind"]["values"], "new", None], counts.cells[0], strict=False
    ):
        assert count == weights[[kind == value for kind in kinds]].sum()
    assert counts.unseen[0] == weights[:30].sum()
    amount = frame["amount"].to_numpy()
    edges = bundle.reference["columns"]["amount"]["edges"]
    known = np.isfinite(amount)
    expected = [weights[known & (amount > low) & (amount <= high)].sum()
                for low, high in zip([-np.inf, *edges], [*edges, np.inf], strict=True)]  # fmt: skip
    assert counts.cells[3, : len(expected) + 1].tolist() == [*expected, weights[~known].sum()]
    assert counts.effective == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    # In parts, by way of JSON, as workers and instances tell them.
    total = judge.cells.empty()
    for part in (slice(0, 1000), slice(1000, 1001), slice(1001, 3000)):
        some = judge.cells.count(Arrays(*(array[part] for array in arrays)), scores[part], levels[part], weights[part])
        total.add(Counts.from_dict(json.loads(json.dumps(some.to_dict())), judge.cells.empty()))
    assert judge.judge(total) == judge.judge(counts)
    with pytest.raises(UserError, match="not counts of this bundle"):
        Counts.from_dict({**some.to_dict(), "unseen": [math.nan]}, total)
    with pytest.raises(UserError, match="no rows to judge"):
        judge.judge(judge.cells.empty())


def test_what_has_not_changed_is_no_alarm_and_what_has_is_named(made: tuple[Bundle, pl.DataFrame]) -> None:
    bundle, _ = made
    judge = Reference(bundle)  # type: ignore[arg-type]
    quiet = [_report(judge, bundle, *table(2000, seed)) for seed in range(10, 50)]
    assert sum(report["alarm"] for report in quiet) <= 7  # of 40; more than that has a probability below 0.001
    frame, scores = table(2000, 99)
    drawn = np.random.default_rng(5)
    moved = frame.with_columns(amount=pl.when(pl.Series(drawn.random(2000) < 0.015)).then(1e6).otherwise("amount"))
    report = _report(judge, bundle, moved, scores)
    assert [name for name, column in report["columns"].items() if column["alarm"]] == ["amount"]
    assert next(iter(report["columns"])) == "amount"
    gone = frame.with_columns(kind=pl.when(pl.Series(drawn.random(2000) < 0.2)).then(None).otherwise("kind"))
    column = _report(judge, bundle, gone, scores)["columns"]["kind"]
    assert column["alarm"]
    assert column["missing"]["now"] == gone["kind"].null_count() / 2000
    assert column["psi"] > column["limit"]
    counts = judge.cells.count(bundle.encoder.transform(gone), scores, bundle.decision.levels(scores))
    less = judge.judge(counts, {"kind": "not recorded"})
    assert "kind" not in less["columns"]
    assert less["not_judged"] == {"kind": "not recorded"}


def test_alerts_per_1000_and_the_threshold_that_restores_the_budget(made: tuple[Bundle, pl.DataFrame]) -> None:
    bundle, _ = made
    judge = Reference(bundle)  # type: ignore[arg-type]
    frame, scores = table(30_000, 4, shift=0.5)
    told = _report(judge, bundle, frame, scores)["alerts_per_1000"]
    for level, it in told.items():
        assert it["estimate"] == pytest.approx(1000 * (scores >= bundle.decision.thresholds[level]).mean(), rel=1e-12)
        assert it["low"] < it["estimate"] < it["high"]
        assert it["alarm"]
        assert it["low"] > it["budget"]
        assert 1000 * (scores >= it["threshold_for_budget"]).mean() == pytest.approx(it["budget"], rel=0.1)
    covered = 0
    for seed in range(100, 160):
        same = table(1000, seed)
        it = _report(judge, bundle, *same)["alerts_per_1000"]["medium"]
        covered += it["low"] <= 50 <= it["high"]
    assert covered >= 52  # of 60, at 95 %; less has a probability below 0.003


def test_where_money_decides_alerts_are_the_levels(made: tuple[Bundle, pl.DataFrame], tmp_path: Path) -> None:
    """Amounts four times as large make other alerts of the same scores."""
    frame, scores = table(20_000, 0)
    money = Money("amount", 1.0, 1.0)

    def alerts(frame: pl.DataFrame, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        worth = scores * frame["amount"].to_numpy() > 1.0
        high = scores >= made[0].decision.thresholds["high"]
        known = np.isfinite(frame["amount"].to_numpy())
        medium = np.where(known, worth, scores >= made[0].decision.thresholds["medium"])
        return 1000 * (medium & high).mean(), 1000 * medium.mean()

    budget = dict(zip(("high", "medium"), alerts(frame, scores), strict=True))
    decision = replace(made[0].decision, money=money, budget=budget)
    levels = decision.levels(scores, frame["amount"].to_numpy())
    arrays = made[0].encoder.transform(frame)
    bundle = Bundle(made[0].encoder, reference(arrays, made[0].encoder, frame, scores, levels, decision))
    bundle.decision = decision
    judge = Reference(bundle)  # type: ignore[arg-type]
    quiet = 0
    for factor, seeds in ((1, range(20, 60)), (4, range(1, 4))):
        for seed in seeds:
            now, of_now = table(2000, seed)
            now = now.with_columns(pl.col("amount") * factor)
            levels = decision.levels(of_now, now["amount"].to_numpy())
            counts = judge.cells.count(bundle.encoder.transform(now), of_now, levels)
            told = judge.judge(counts)["alerts_per_1000"]
            for level, seen in zip(("high", "medium"), alerts(now, of_now), strict=True):
                assert told[level]["estimate"] == pytest.approx(seen, rel=1e-12)
            if factor == 1:
                quiet += told["medium"]["low"] <= budget["medium"] <= told["medium"]["high"]
                assert not told["medium"]["alarm"]
            else:
                assert told["medium"]["alarm"]
                assert told["medium"]["low"] > budget["medium"]
    assert quiet >= 34  # of 40, at 95 %; less has a probability below 0.004
    report = judge.judge(counts)
    publish(str(tmp_path), report, judge, counts)
    for words in (summary(report), (tmp_path / "drift.html").read_text()):
        assert words.count("by money") == 4
    # A bundle of an earlier version has no counts of levels: its alerts are not judged.
    del bundle.reference["scores"]["alerts"]
    judge = Reference(bundle)  # type: ignore[arg-type]
    report = judge.judge(counts)
    assert report["alerts_per_1000"] is None
    publish(str(tmp_path), report, judge, counts)
    for words in (summary(report), (tmp_path / "drift.html").read_text()):
        assert "judged: levels are decided by money" in words
        assert "for the budget" not in words
    bundle.decision = made[0].decision  # which decides by thresholds: scores tell them
    assert Reference(bundle).judge(counts)["alerts_per_1000"] is not None  # type: ignore[arg-type]


def _report(judge: Reference, bundle: Bundle, frame: pl.DataFrame, scores: np.ndarray) -> dict[str, Any]:
    return judge.judge(judge.cells.count(bundle.encoder.transform(frame), scores, bundle.decision.levels(scores)))


def test_a_table_of_a_few_rows_has_a_reference_too() -> None:
    frame, scores = table(40, 3)
    encoder = TableEncoder.fit(frame, CATEGORICAL, NUMERIC)
    levels = DECISION.levels(scores)
    bundle = Bundle(encoder, reference(encoder.transform(frame), encoder, frame, scores, levels, DECISION))
    judge = Reference(bundle)  # type: ignore[arg-type]
    assert isinstance(judge.cells, Cells)
    assert judge.judge(judge.cells.count(encoder.transform(frame[:1]), scores[:1], levels[:1]))["alarm"] is False


def test_a_bundle_of_an_earlier_version_says_what_to_do() -> None:
    with pytest.raises(UserError, match=r"no reference statistics.*fraudlab\.export run="):
        Reference(bundles.load(OLD))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "give one of records=<folder>"),
        ({"input": "a", "records": "b"}, "not records and input"),
        ({"input": "a", "start": "2026-11-01"}, "start goes with records="),
        ({"records": "a", "stop": "yesterday"}, "stop=yesterday is no ISO 8601"),
    ],
)
def test_settings_that_make_no_sense_are_refused(given: dict[str, str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        DriftConfig(bundle="b", out="o", **given)


def test_the_command_reports_a_file(exported: tuple[Path, Path], command: Command, tmp_path: Path) -> None:
    bundle = bundles.load(exported[1])
    records = [row["record"] for row in bundle.golden()]
    rows = pl.DataFrame(records, infer_schema_length=None)
    rows.write_parquet(tmp_path / "in.parquet")
    done = command("drift", f"bundle={bundle.path}", "input=in.parquet", "out=report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "alerts per 1,000" in done.stdout
    report = json.loads((tmp_path / "report" / "drift.json").read_text())
    scores = bundle.predict(records)
    high = report["alerts_per_1000"]["high"]
    assert high["estimate"] == pytest.approx(1000 * (scores >= bundle.decision.thresholds["high"]).mean())
    assert report["rows"] == len(records)
    assert report["columns"].keys() == {*bundle.encoder.categorical, *bundle.encoder.numeric}
    # The index of a raw column, from the raw values by its definition.
    about = bundle.reference["columns"]["TransactionAmt"]
    bins = [-np.inf, *np.nextafter(about["edges"], np.inf), np.inf]
    amounts = rows["TransactionAmt"].cast(pl.Float64).to_numpy()
    now = np.r_[np.histogram(amounts * (1 - 1e-9), bins)[0], 0]
    p, q = (np.maximum(each, 0.5) / np.sum(each) for each in (about["counts"], now))
    there = (np.array(about["counts"]) > 0) | (now > 0)
    expected = ((q - p) * np.log(q / p))[there].sum()
    assert report["columns"]["TransactionAmt"]["psi"] == pytest.approx(expected)
    page = (tmp_path / "report" / "drift.html").read_text()
    assert page.count("<svg") == 25
    assert "<script" not in page
    assert "http" not in page
    assert len(page) < 2**20
    refused = command("drift", f"bundle={OLD}", "input=in.parquet", "out=report", cwd=tmp_path)
    assert refused.returncode == 1
    assert "no reference statistics" in refused.stderr
