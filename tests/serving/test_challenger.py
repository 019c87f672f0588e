"""A challenger scores the same traffic in the shadow: what it does and how it fails never shows in an answer."""

import json
import math
import shutil
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil
import pytest
from sklearn.metrics import average_precision_score

from fraudlab import bundle as bundles
from fraudlab.config.serve import ServingConfig
from fraudlab.errors import UserError
from fraudlab.monitoring import labels, records
from fraudlab.serving.challenger import Challenger
from tests.conftest import Command
from tests.monitoring.test_challenger import in_part
from tests.support.bundles import signed
from tests.support.handbook import RAW
from tests.support.server import Server, refused, until

VARIANTS, ENOUGH, SWAPS = 40, 300, 20


@pytest.fixture(scope="module")
def challenger(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of another model on the data of ``exported``."""
    folder = tmp_path_factory.mktemp("challenger")
    data = ("data=ieee_cis_simulated", "data.rows=2000", "model=lightgbm", "report=false", "logger=none")
    for name, words in (
        ("train", (*data, f"hydra.run.dir={folder}/run")),
        ("export", (f"run={folder}/run", f"out={folder}/bundle", "calibration=platt")),
    ):
        done = command(name, *words)
        assert done.returncode == 0, done.stderr
    return folder / "bundle"


@pytest.fixture(scope="module")
def sent(exported: tuple[Path, Path]) -> list[dict[str, Any]]:
    """Golden records, each with many amounts."""
    golden = [row["record"] for row in bundles.load(exported[1]).golden()]
    amounts = [{"TransactionAmt": record["TransactionAmt"] * 1.1**n} for n in range(VARIANTS) for record in golden]
    return [
        {**record, **amount, "TransactionID": number}
        for number, (record, amount) in enumerate(zip(golden * VARIANTS, amounts, strict=True))
    ]


@pytest.fixture(scope="module")
def server(exported: tuple[Path, Path], challenger: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("shadow")
    settings = (f"serving.challenger={challenger}", "serving.record_to=record", "serving.record_reasons=2")
    with Server(exported[1], folder, *settings) as started:
        yield started


def counts(server: Server) -> dict[str, float]:
    lines = [line.rsplit(" ", 1) for line in server.ask("/metrics").text.splitlines() if line[0] != "#"]
    return {name: float(value) for name, value in lines if name.startswith("fraudlab_challenger")}


def scored(server: Server) -> float:
    return sum(value for name, value in counts(server).items() if name.startswith("fraudlab_challenger_scores_total"))


def dropped(server: Server) -> float:
    return sum(value for name, value in counts(server).items() if name.startswith("fraudlab_challenger_dropped_total"))


def offline(command: Command, bundle: Path, sent: list[dict[str, Any]], folder: Path) -> np.ndarray:
    """Scores of ``python -m fraudlab.predict``."""
    source, target = folder / "sent.parquet", folder / "scores.csv"
    pl.DataFrame(sent, infer_schema_length=None).write_parquet(source)
    done = command("predict", f"bundle={bundle}", f"input={source}", f"output={target}", cwd=folder)
    assert done.returncode == 0, done.stderr
    return pl.read_csv(target).sort("TransactionID")["score"].to_numpy()


def test_the_swap_set_is_that_of_an_offline_comparison(
    server: Server,
    exported: tuple[Path, Path],
    challenger: Path,
    sent: list[dict[str, Any]],
    command: Command,
    tmp_path: Path,
) -> None:
    until(lambda: counts(server)["fraudlab_challenger_up"] == 1)
    champion = bundles.load(exported[1])
    folder = server.log.parent / "record"
    asked: list[dict[str, Any]] = []
    while scored(server) < ENOUGH:  # a machine that is busy otherwise leaves it no time for some
        some = [{**record, "TransactionID": len(asked) + place} for place, record in enumerate(sent[len(asked) :][:32])]
        said = server.predict(some)
        assert (said.status, said.said["bundle_version"]) == (200, champion.version)
        asked += some
        until(lambda: scored(server) + dropped(server) == len(asked))  # noqa: B023
    until(lambda: len(records.scan(folder).collect()) == len(asked))
    rows = records.scan(folder).collect().sort(pl.col("transaction_id").cast(pl.Int64))
    rows = rows.filter(pl.col("challenger_score").is_not_null())
    sent = [asked[int(number)] for number in rows["transaction_id"]]
    other = bundles.load(challenger)
    assert set(rows["challenger_version"]) == {other.version}
    raw = other.probability(other.encode(sent))
    assert rows["challenger_raw_score"].to_numpy() == pytest.approx(raw, abs=1e-6)
    levels = [other.decision.level(score) for score in rows["challenger_score"]]
    assert rows["challenger_risk_level"].to_list() == levels
    assert rows["challenger_reasons"].is_null().to_list() == [level == "low" for level in levels]
    alert = next(place for place, level in enumerate(levels) if level != "low")
    why = other.explain([sent[alert]], 2)[0]
    assert rows["challenger_reasons"][alert].to_list() == [each.column for each in why]
    assert rows["score"].to_numpy() == pytest.approx(champion.predict(sent), abs=1e-6)

    likely = np.where(rows["challenger_score"].to_numpy() > 0.05, 0.8, 0.2)
    frauds = np.flatnonzero(np.random.default_rng(0).random(len(sent)) < likely)
    copied = shutil.copytree(folder, tmp_path / "record")
    told = [labels.Label(rows["transaction_id"][int(row)], None, None, True, "bank", None) for row in frauds]
    labels.append(copied, told, "a", datetime.now(UTC) + timedelta(hours=1))
    moment = f"as_of={datetime.now(UTC) + timedelta(days=3):%Y-%m-%d}"
    words = (f"bundle={exported[1]}", f"records={copied}", "budget=100", "mature_days=1", f"out={tmp_path}/out", moment)
    done = command("challenger", *words, "looks=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "challenger.json").read_text())

    amount = np.array([record["TransactionAmt"] for record in sent])
    most = math.floor(0.1 * len(sent))
    alerts = {}
    for name, bundle in (("champion", exported[1]), ("challenger", challenger)):
        score = offline(command, bundle, sent, tmp_path)
        ranked = np.sort(score)[::-1]
        within = [limit for limit in np.unique(ranked) if (ranked >= limit).sum() <= most]  # ties go together
        alerts[name] = set(np.flatnonzero(score >= min(within)).tolist())
    swap = {
        "champion_only": alerts["champion"] - alerts["challenger"],
        "both": alerts["champion"] & alerts["challenger"],
        "challenger_only": alerts["challenger"] - alerts["champion"],
    }
    assert swap["champion_only"]
    assert swap["challenger_only"]
    listed = pl.read_csv(tmp_path / "out" / "swap.csv")
    for name, ids in swap.items():
        found = report["swap"][name]
        assert set(listed.filter(pl.col("alert") == name)["transaction_id"]) == {sent[i]["TransactionID"] for i in ids}
        assert found["count"] == found["labelled"] == len(ids)
        assert found["frauds"] == len(ids & set(frauds.tolist()))
        assert found["amount"] == pytest.approx(amount[sorted(ids)].sum())
    first = rows["challenger_reasons"].list.first()
    only = sorted(swap["challenger_only"])
    reasons = report["swap"]["challenger_only"]["reasons"]
    of_alerts = first[only].drop_nulls()
    assert reasons
    assert all(share == pytest.approx((of_alerts == name).mean()) for name, share in reasons.items())

    label = np.isin(np.arange(len(sent)), frauds)
    metrics = report["labels"]["metrics"]
    for name, column in (("champion", "score"), ("challenger", "challenger_score")):
        precision, recall = in_part(rows[column].to_numpy(), label, most)
        assert metrics["average_precision"][name] == pytest.approx(average_precision_score(label, rows[column]))
        assert metrics["precision"][name] == pytest.approx(precision)
        assert metrics["recall"][name] == pytest.approx(recall)
    assert "promote" in report["decision"]["verdict"]  # labels follow the challenger's score
    page = (tmp_path / "out" / "challenger.html").read_text()
    assert "2 looks" in page
    assert "<script" not in page
    assert "http" not in page
    refused = command("challenger", *words, "version=none", cwd=tmp_path)
    assert (refused.returncode, other.version in refused.stderr) == (1, True)


def test_statistics_show_both(server: Server, sent: list[dict[str, Any]]) -> None:
    before = scored(server)
    assert server.predict(sent[0]).status == 200
    until(lambda: scored(server) == before + 1)
    said = server.ask("/statistics").said["challenger"]
    assert said["scored"] == before + 1
    assert sum(said["dropped"].values()) == dropped(server)
    assert said["dropped"].keys() == {"full", "late", "failed"}
    assert said["alerts_per_1000"].keys() == {"champion", "challenger"}


def process(server: Server) -> psutil.Process:
    """The challenger's: of those with the model's runtime the one that yields to all others."""
    family = psutil.Process(server.process.pid).children(recursive=True)
    return next(
        each
        for each in family
        if each.status() != psutil.STATUS_ZOMBIE
        and each.nice() == 19
        and any("onnxruntime" in mapped.path for mapped in each.memory_maps())
    )


def test_one_that_dies_or_hangs_costs_its_scores_alone(
    exported: tuple[Path, Path], challenger: Path, sent: list[dict[str, Any]], tmp_path: Path
) -> None:
    settings = (f"serving.challenger={challenger}", "serving.record_to=record", "serving.worker_timeout=2")
    with Server(exported[1], tmp_path, *settings) as server:
        until(lambda: counts(server)["fraudlab_challenger_up"] == 1)
        records_left, statuses = iter(sent), []

        def ask() -> None:
            statuses.append(server.predict(next(records_left)).status)

        process(server).suspend()
        for _ in range(50):
            ask()
        until(lambda: dropped(server) == 50)  # late, in the record without its scores
        until(lambda: counts(server)["fraudlab_challenger_failures_total"] == 1, 60)  # it was killed
        until(lambda: counts(server)["fraudlab_challenger_up"] == 1, 60)
        until(lambda: ask() or scored(server) > 0, 60)  # on a busy machine some are late
        process(server).kill()
        for _ in range(9):
            ask()
        assert set(statuses) == {200}
        assert server.end() == 0
    rows = records.scan(tmp_path / "record").collect()
    assert len(rows) == len(statuses)
    assert 1 <= rows["challenger_score"].count() <= len(rows) - 50


def test_one_that_cannot_start_any_more_leaves_the_server_as_it_is(
    exported: tuple[Path, Path], challenger: Path, sent: list[dict[str, Any]], tmp_path: Path
) -> None:
    copied = shutil.copytree(challenger, tmp_path / "copied")
    settings = (f"serving.challenger={copied}", "serving.record_to=record")
    with Server(exported[1], tmp_path, *settings) as server:
        until(lambda: counts(server)["fraudlab_challenger_up"] == 1)
        (copied / "decision.json").write_text("{}")
        process(server).kill()
        until(lambda: "the challenger scores nothing" in server.log.read_text())
        assert server.predict(sent[:3]).status == 200
        assert counts(server)['fraudlab_challenger_dropped_total{reason="failed"}'] == 3
        server.process.send_signal(signal.SIGHUP)
        until(lambda: "nothing is reloaded" in server.log.read_text())
        assert server.ready()


def test_it_has_the_past_that_the_champions_worker_looked_up(
    handbook_bundle: Path, command: Command, tmp_path: Path
) -> None:
    golden = [row["record"] for row in bundles.load(handbook_bundle).golden()]
    times = pl.col("TX_DATETIME").str.to_datetime(time_unit="us")
    rows = pl.DataFrame(golden, infer_schema_length=None).with_columns(times).sort("TX_DATETIME", "TRANSACTION_ID")
    rows.write_parquet(tmp_path / "past.parquet")
    done = command("history", f"transactions={tmp_path}/past.parquet", f"out={tmp_path}/h.sqlite", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    settings = (f"serving.challenger={handbook_bundle}", "serving.record_to=record", "serving.history=h.sqlite")
    with Server(handbook_bundle, tmp_path, *settings) as server:
        until(lambda: counts(server)["fraudlab_challenger_up"] == 1)
        for record in golden:
            answer = server.predict({name: record[name] for name in RAW})
            assert answer.said.keys() == {"score", "risk_level", "bundle_version", "request_id"}
        until(lambda: scored(server) + dropped(server) == len(golden))
        assert counts(server)['fraudlab_challenger_dropped_total{reason="failed"}'] == 0  # it needs the past's features
        assert server.end() == 0
    found = records.scan(tmp_path / "record").collect()
    assert len(found) == len(golden)
    both = found.filter(pl.col("challenger_score").is_not_null())
    assert both["challenger_score"].to_list() == pytest.approx(both["score"].to_list(), abs=1e-6)
    assert both["score"].n_unique() > 1


@pytest.mark.parametrize(
    ("changed", "differ"),
    [({}, ""), ({"delay_days": 3}, "TERMINAL_ID_NB_TX_1DAY_WINDOW"), ({"decimals": 1}, "CUSTOMER_ID_AVG_AMOUNT")],
)
def test_one_whose_past_is_another_is_refused_beside_a_history(
    handbook_bundle: Path, tmp_path: Path, changed: dict[str, Any], differ: str
) -> None:
    other = shutil.copytree(handbook_bundle, tmp_path / "other")
    features = json.loads((other / "features.json").read_text())
    features["settings"] |= changed
    (other / "features.json").write_text(json.dumps(features))
    signed(other)
    champion = bundles.load(handbook_bundle)
    settings = ServingConfig(challenger=str(other), record_to="record")
    Challenger(champion, settings, tmp_path / "without").close()  # clients send what the features need
    with_history = replace(settings, history="h.sqlite")
    if not differ:
        Challenger(champion, with_history, tmp_path / "with").close()
        return
    with pytest.raises(UserError, match=f"computes .*{differ}.* otherwise") as refused:
        Challenger(champion, with_history, tmp_path / "with")
    assert "TX_DURING_NIGHT" not in str(refused.value) or "decimals" in changed


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["serving.record_to=r"], "reads TX_"),
        ([], "set serving.record_to"),
    ],
)
def test_one_that_has_no_use_is_refused_at_the_start(
    exported: tuple[Path, Path], handbook_bundle: Path, tmp_path: Path, settings: list[str], said: str
) -> None:
    assert said in refused(exported[1], tmp_path, f"serving.challenger={handbook_bundle}", *settings)


@pytest.mark.slow
def test_bundles_that_are_swapped_under_load_lose_no_request_and_are_not_mixed(
    exported: tuple[Path, Path], challenger: Path, sent: list[dict[str, Any]], tmp_path: Path
) -> None:
    want = {found.version: found.predict(sent[:1])[0] for found in map(bundles.load, (exported[1], challenger))}
    pair = dict(zip(want, (exported[1], challenger), strict=True))
    assert abs(np.subtract(*want.values())) > 1e-3
    link = tmp_path / "live"
    link.symlink_to(exported[1])
    seen: list[tuple[int, str, float]] = []
    over = threading.Event()
    with Server(link, tmp_path) as server:

        def ask() -> None:
            while not over.is_set():
                answer = server.predict(sent[0])
                seen.append((answer.status, answer.said.get("bundle_version", ""), answer.said.get("score", math.nan)))

        clients = [threading.Thread(target=ask) for _ in range(4)]
        for client in clients:
            client.start()
        for version in list(reversed(want)) * (SWAPS // 2):
            link.unlink()
            link.symlink_to(pair[version])
            server.process.send_signal(signal.SIGHUP)
            until(lambda: server.ask("/info").said["bundle_version"] == version)  # noqa: B023
        over.set()
        for client in clients:
            client.join()
        assert server.end() == 0
    assert len(seen) > 10 * SWAPS
    assert {(status, version) for status, version, _ in seen} == {(200, version) for version in want}
    assert all(score == pytest.approx(want[version], abs=1e-6) for _, version, score in seen)
