"""Levels by money and the members' spread: one rule in the server, in files, in the record and offline."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from fraudlab import bundle as bundles
from fraudlab.bundle import formats
from fraudlab.bundle.contract import Refused
from fraudlab.bundle.money import Money
from fraudlab.bundle.scoring import score_file, score_table
from fraudlab.config import ExportConfig
from fraudlab.errors import UserError
from fraudlab.exporter.money import money_of, stand_in
from fraudlab.exporter.writer import export
from fraudlab.monitoring import records
from fraudlab.runs.folder import RunFolder
from fraudlab.runs.savings import savings_of, savings_table
from fraudlab.serving.challenger import _scores
from tests.conftest import Command
from tests.support.bundles import signed
from tests.support.server import Server, until

COST, SHARE = 40.0, 0.5  # of the run
ALERTS = {"high": ("high",), "medium": ("high", "medium")}


@pytest.fixture(scope="module")
def bundle(by_money: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> bundles.Bundle:
    """As of a table that has rows without an amount, and refunds."""
    folder = Path(shutil.copytree(by_money[1], tmp_path_factory.mktemp("money") / "bundle"))
    schema = json.loads((folder / "schema.json").read_text())
    schema["never_missing"].remove("TransactionAmt")
    field = next(each for each in schema["fields"] if each["name"] == "TransactionAmt")
    field |= {"required": False, "nullable": True, "never_missing": False, "minimum": None}
    (folder / "schema.json").write_text(json.dumps(schema))
    return bundles.load(signed(folder))


@pytest.fixture(scope="module")
def sent(bundle: bundles.Bundle) -> list[dict[str, Any]]:
    """Golden records, with some amounts that reach all levels, and two that decide nothing."""
    golden = [row["record"] for row in bundle.golden()]
    large = [{**record, "TransactionAmt": 1000.0 * (1 + n)} for n, record in enumerate(golden[:8])]
    made = [*golden, *large, {**golden[0], "TransactionAmt": -3.5}, {**golden[1], "TransactionAmt": None}]
    return [{**record, "TransactionID": number} for number, record in enumerate(made)]


def by_hand(score: float, amount: float | None, thresholds: dict[str, float]) -> tuple[str, str]:
    """Level and rule as docs/decisions.md tells them."""
    if amount is None or amount < 0:
        level = "high" if score >= thresholds["high"] else "medium" if score >= thresholds["medium"] else "low"
        return level, "thresholds"
    if score * SHARE * amount - COST <= 0:
        return "low", "money"
    return ("high" if score >= thresholds["high"] else "medium"), "money"


@pytest.fixture(scope="module")
def server(bundle: bundles.Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(bundle.path, tmp_path_factory.mktemp("money"), "serving.record_to=record") as started:
        yield started


def test_the_server_the_record_and_files_decide_as_the_rule_says(
    server: Server, bundle: bundles.Bundle, sent: list[dict[str, Any]], tmp_path: Path
) -> None:
    said = server.predict(sent).said["predictions"]
    thresholds = dict(bundle.decision.thresholds)
    expected = [by_hand(a["score"], r["TransactionAmt"], thresholds) for a, r in zip(said, sent, strict=True)]
    assert [(answer["risk_level"], answer["rule"]) for answer in said] == expected
    assert {level for level, _ in expected} == {"low", "medium", "high"}
    # A score of level high that is not worth an alert, and one below medium that is: the amount decides.
    levels = [(answer["score"], level) for answer, (level, _) in zip(said, expected, strict=True)]
    assert any(score >= thresholds["high"] and level == "low" for score, level in levels)
    assert any(score < thresholds["medium"] and level != "low" for score, level in levels)
    spread = bundle.probability_and_spread(bundle.encode(sent))[1]
    assert spread is not None
    assert [answer["spread"]["low"] for answer in said] == pytest.approx(spread.low.tolist(), abs=1e-6)
    assert [answer["spread"]["high"] for answer in said] == pytest.approx(spread.high.tolist(), abs=1e-6)
    until(lambda: server.ask("/drift").said["rows"] >= len(sent))
    drift = server.ask("/drift").said
    made = {level: sum(found in among for found, _ in expected) for level, among in ALERTS.items()}
    per_1000 = {level: it["estimate"] for level, it in drift["alerts_per_1000"].items()}
    assert per_1000 == pytest.approx({level: 1000 * count / len(sent) for level, count in made.items()})
    metrics = server.ask("/metrics").text
    assert "fraudlab_without_amount_total 2.0" in metrics
    assert "fraudlab_drift_rows" in metrics
    assert 'fraudlab_alerts_per_1000{level="medium",of="budget"}' in metrics

    pl.DataFrame(sent, infer_schema_length=None).write_parquet(tmp_path / "in.parquet")
    written = score_file(bundle, tmp_path / "in.parquet", tmp_path / "out.parquet")
    found = written.collect().sort("TransactionID")
    assert list(found.select("risk_level", "rule").iter_rows()) == expected
    table = score_table(bundle, written)
    assert "2 rows have no TransactionAmt of 0 or more" in table
    assert f"{thresholds['medium']:.6f}" not in table  # from which no level begins

    folder = server.log.parent / "record"
    until(lambda: len(records.scan(folder).collect()) == len(sent))
    rows = records.scan(folder).collect().sort(pl.col("transaction_id").cast(pl.Int64))
    assert list(rows.select("risk_level", "rule").iter_rows()) == expected
    assert rows["spread_low"].to_list() == [answer["spread"]["low"] for answer in said]
    assert rows["spread_high"].to_list() == [answer["spread"]["high"] for answer in said]
    shadow = _scores(bundle, [sent], reasons=0)[0]
    assert [level for _, _, level, _ in shadow] == [level for level, _ in expected]


def test_offline_savings_are_those_of_the_same_rule(
    by_money: tuple[Path, Path], bundle: bundles.Bundle, command: Command, tmp_path: Path
) -> None:
    """Golden records have the level that the rule gives them offline, and savings are those of alerts by it."""
    run, folder = by_money
    done = command("evaluate", f"run={run}", f"bundle={folder}", f"hydra.run.dir={tmp_path}/out")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out" / "savings.json").read_text())
    rows = pl.read_parquet(run / "predictions" / "test.parquet")
    score = rows["score"].to_numpy().astype(float)
    amount, fraud = rows["amount"].to_numpy().astype(float), rows["label"].to_numpy() == 1
    thresholds = dict(bundle.decision.thresholds)
    alerts = {
        "money": np.array([by_hand(s, a, thresholds)[0] != "low" for s, a in zip(score, amount, strict=True)]),
        "thresholds": score >= thresholds["medium"],
    }
    nothing, everything = (SHARE * amount[fraud]).sum(), COST * len(rows)
    for rule, alerted in alerts.items():
        cost = (SHARE * amount[fraud & ~alerted]).sum() + COST * alerted.sum()
        assert found["rules"][rule]["savings"] == pytest.approx(1 - cost / min(nothing, everything))
        assert found["rules"][rule]["alerts_per_1000"] == pytest.approx(1000 * alerted.mean())
        low, high = found["rules"][rule]["interval"]
        assert low <= found["rules"][rule]["savings"] <= high
    assert "difference" in done.stdout
    golden = bundle.golden()
    amounts = np.array([row["record"]["TransactionAmt"] for row in golden])
    scores = np.array([row["score"] for row in golden])
    levels = bundle.decision.levels(scores, amounts).tolist()
    assert levels == [by_hand(s, a, thresholds)[0] for s, a in zip(scores, amounts, strict=True)]
    other = command("evaluate", f"run={run}", f"bundle={folder}/nowhere", f"hydra.run.dir={tmp_path}/other")
    assert (other.returncode, "is not a bundle" in other.stderr) == (1, True)


def test_the_budget_is_what_the_rule_alerts(by_money: tuple[Path, Path], bundle: bundles.Bundle) -> None:
    """By it drift is judged, and where it is over one more alert than the money asks for would be."""
    rows = pl.read_parquet(by_money[0] / "predictions" / "val.parquet")
    worth = rows["score"].to_numpy().astype(float) * SHARE * rows["amount"].to_numpy() > COST
    assert bundle.decision.budget["medium"] == pytest.approx(1000 * worth.mean())
    assert bundle.decision.budget["high"] == pytest.approx(min(1000 * worth.mean(), 30))
    facts = json.loads((by_money[1] / "manifest.json").read_text())
    assert (facts["format"], formats.FORMAT) == (9, 9)


@pytest.mark.parametrize(
    ("settings", "says"),
    [({"medium_recall": 0.8}, "leave out the one or the other"), ({"high_precision": 0.8}, "leave out the one")],
)
def test_promises_by_scores_are_refused_beside_it(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        ExportConfig(run="r", medium_money=True, **settings)


def test_where_every_training_row_had_an_amount_none_is_refused(by_money: tuple[Path, Path]) -> None:
    bundle = bundles.load(by_money[1])
    with pytest.raises(Refused, match="TransactionAmt"):
        bundle.predict([{**bundle.golden()[0]["record"], "TransactionAmt": None}])


def test_savings_are_of_the_bundles_own_run_and_of_rows_with_an_amount(
    by_money: tuple[Path, Path], tmp_path: Path
) -> None:
    run, made = RunFolder(by_money[0]), bundles.load(by_money[1])
    rows = run.predictions("test")
    whole = savings_of(made, run, {"test": rows}, COST, SHARE)
    lacking = rows.with_columns(amount=pl.when(pl.int_range(pl.len()) % 9 > 0).then("amount"))
    found = savings_of(made, run, {"test": lacking}, COST, SHARE)
    kept = savings_of(made, run, {"test": lacking.drop_nulls("amount")}, COST, SHARE)
    assert (whole["left_out"], found["left_out"]) == (0, lacking["amount"].null_count())
    assert {**found, "left_out": 0} == kept
    assert f"{found['left_out']:,} rows have no amount" in savings_table(found)
    with pytest.raises(UserError, match=r"data\.amount=<column>"):
        savings_of(made, run, {"test": rows.with_columns(amount=pl.lit(None, pl.Float64))}, COST, SHARE)
    other = RunFolder(shutil.copytree(run.path, tmp_path / "run"))  # same code, data and seed, another model
    metrics = run.metrics()
    metrics["val"]["average_precision"] += 0.01
    other.metrics_path.write_text(json.dumps(metrics))
    with pytest.raises(UserError, match="is not of"):
        savings_of(made, other, {"test": rows}, COST, SHARE)


def test_costs_that_decide_are_those_that_were_told(by_money: tuple[Path, Path], tmp_path: Path) -> None:
    run = RunFolder(by_money[0])
    text = run.config_path.read_text()

    def told(name: str, cost: float, share: float = SHARE) -> RunFolder:
        made = RunFolder(tmp_path / name)
        made.path.mkdir()
        made.config_path.write_text(
            text.replace("admin_cost: 40.0", f"admin_cost: {cost}").replace("share: 0.5", f"share: {share}")
        )
        return made

    untold, blend = told("untold", 2.5, 1.0), told("blend", 7.0)
    assert stand_in(run) is None
    assert "admin_cost=2.5" in (stand_in(untold) or "")
    members = [{"run": str(untold.path), "weight": 0.5}]
    blend.write_blend({"members": members})
    assert money_of(blend, "amount") == Money("amount", 7.0, SHARE)
    blend.write_blend({"members": [*members, {"run": str(run.path), "weight": 0.5}]})
    with pytest.raises(UserError, match=r"has admin_cost=7 recovery_share=0\.5, its member .* admin_cost=40"):
        money_of(blend, "amount")


def test_a_run_whose_alerts_cost_nothing_is_refused(by_money: tuple[Path, Path], tmp_path: Path) -> None:
    run = RunFolder(by_money[0])
    free = RunFolder(shutil.copytree(run.path, tmp_path / "run"))
    text = free.config_path.read_text()
    free.config_path.write_text(text.replace("admin_cost: 40.0", "admin_cost: 0.0"))
    asked = ExportConfig(run=str(free.path), medium_money=True)
    asked.paths.data_dir = run.provenance()["data_dir"]
    with pytest.raises(UserError, match="train with the cost of an alert"):
        export(asked, free, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
