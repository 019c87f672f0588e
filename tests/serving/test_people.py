"""``/alerts``, ``/performance`` and ``/statistics``: what people are told is what was answered and recorded."""

import json
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fraudlab import bundle as bundles
from fraudlab.monitoring import kept, records
from tests.support.bundles import with_reachable_thresholds
from tests.support.server import KEY, Server, until


@pytest.fixture(scope="module")
def bundle(exported: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> bundles.Bundle:
    """With thresholds that its golden records reach."""
    return with_reachable_thresholds(exported[1], tmp_path_factory.mktemp("alerting") / "bundle")


@pytest.fixture(scope="module")
def server(bundle: bundles.Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("people")
    keys = folder / "keys"
    keys.write_text(f"all:score,label,read,metrics:{KEY}\nshop:score:{'s' * 32}\n")
    keys.chmod(0o600)
    settings = ("serving.record_to=record", "serving.record_reasons=500", f"serving.api_key_file={keys}")
    with Server(Path(bundle.path), folder, *settings) as started:
        yield started


def test_alerts_are_those_of_the_record(server: Server, bundle: bundles.Bundle) -> None:
    sent = [row["record"] for row in bundle.golden()]
    told: list[dict[str, Any]] = []
    for start in range(0, len(sent), 50):
        said = server.predict(sent[start : start + 50]).said
        told += [
            {"request_id": said["request_id"], "position": position, **answer}
            for position, answer in enumerate(said["predictions"])
            if answer["risk_level"] != "low"
        ]
    assert 2 < len(told) < len(sent)
    found = server.ask("/alerts?limit=1000").said
    assert found["bundle_version"] == bundle.version
    assert found["instance"].endswith(f":{server.port}")
    assert found["kept"] == len(told)
    names = ("request_id", "position", "score", "risk_level")
    assert [[each[name] for name in names] for each in found["alerts"]] == [
        [each[name] for name in names] for each in reversed(told)
    ]
    assert server.ask("/alerts?limit=2").said["alerts"] == found["alerts"][:2]
    high = [each for each in found["alerts"] if each["risk_level"] == "high"]
    assert server.ask("/alerts?level=high").said["alerts"] == high
    for query in ("limit=0", "limit=1001", "level=low", "level=high&level=high"):
        assert server.ask(f"/alerts?{query}").status == 422
    folder = server.log.parent / "record"
    until(lambda: len(records.scan(folder).collect()) == len(sent))
    rows = {(row["request_id"], row["position"]): row for row in records.scan(folder).collect().iter_rows(named=True)}
    clear = 0
    for alert in found["alerts"]:
        row = rows[alert["request_id"], alert["position"]]
        assert alert["scored_at"] == row["scored_at"].isoformat()
        assert alert["transaction_id"] == row["transaction_id"]
        assert alert["reasons"] == row["reasons"]
        for reason in alert["reasons"]:  # a card's fields are hashes there too
            if reason["feature"] in {f"card{n}" for n in range(1, 7)} and reason["value"] is not None:
                clear += 1
                assert reason["value"] == row["input"][reason["feature"]]
                assert len(reason["value"]) == 64
    assert clear
    alert = found["alerts"][-1]
    one = f"/alerts?request_id={alert['request_id']}&position={alert['position']}"
    shown = server.ask(one).said["alerts"]
    assert [{**each, "inputs": None} for each in shown] == [{**alert, "inputs": None}]
    recorded = rows[alert["request_id"], alert["position"]]["input"]
    assert shown[0]["inputs"] == {name: recorded[name] for name in shown[0]["inputs"]}
    assert len(shown[0]["inputs"]) == len(bundle.schema["fields"])
    assert server.ask("/alerts?request_id=nobody&position=0").status == 404
    for query in ("request_id=a", "position=0", "request_id=a&position=-1", "request_id=a&request_id=b&position=0"):
        assert server.ask(f"/alerts?{query}").status == 422


def test_alerts_show_what_was_said_of_them_last(server: Server) -> None:
    first, second = server.ask("/alerts?limit=2").said["alerts"]
    place = {name: first[name] for name in ("request_id", "position")}
    by_id = {"id": int(second["transaction_id"])}

    def tell(*labels: dict[str, Any]) -> list[Any]:
        assert server.ask("/labels", json.dumps(labels).encode()).status == 200
        said = [each["label"] for each in server.ask("/alerts?limit=2").said["alerts"]]
        return [label and (label["fraud"], label["source"]) for label in said]

    assert tell({**place, "fraud": True, "source": "analyst"}) == [(True, "analyst"), None]
    assert tell({**place, "fraud": False, "event_time": "2020-01-01"}) == [(True, "analyst"), None]  # said before
    assert tell({**by_id, "fraud": True}, {**place, "reversal": True, "source": "bank"}) == [
        (None, "bank"),
        (True, "all"),
    ]
    moment = "2020-01-01T00:00:00Z"
    assert tell({**by_id, "fraud": False, "event_time": moment})[1] == (True, "all")


def test_statistics_are_counts_of_what_was_answered(server: Server, bundle: bundles.Bundle) -> None:
    before = server.ask("/statistics").said
    levels: Counter[str] = Counter()
    for row in bundle.golden()[:20]:
        levels[server.predict(row["record"]).said["risk_level"]] += 1
    assert server.predict({"nonsense": 1}).status == 422
    after = server.ask("/statistics").said
    assert after["scored"] - before["scored"] == sum(levels.values()) == 20
    old, new = (each["requests"].get("/predict", {}) for each in (before, after))
    assert new["200"] - old.get("200", 0) == 20
    assert new["422"] - old.get("422", 0) == 1
    assert after["refusals"]["contract"] - before["refusals"].get("contract", 0) == 1
    for name, of in (("high", ("high",)), ("medium", ("high", "medium"))):
        one, other = (each["alerts_per_1000"][name] for each in (before, after))
        assert other["budget"] == bundle.decision.budget[name]
        alerts = other["seen"] * after["scored"] / 1000 - (one["seen"] or 0) * before["scored"] / 1000
        assert alerts == pytest.approx(sum(levels[each] for each in of), abs=1e-6)
    both = zip(before["latency"]["counts"], after["latency"]["counts"], strict=True)
    assert sum(new - old for old, new in both) == 21
    assert len(after["latency"]["counts"]) == len(after["latency"]["bounds"]) + 1
    total = after["seconds"]["total"]
    assert 0 < total["p50"] <= total["p95"] <= total["p99"] <= 2
    assert server.ask("/statistics", key="s" * 32).status == 403


def test_the_newest_whole_report_is_shown(server: Server) -> None:
    refused = server.ask("/performance")
    assert refused.status == 404
    assert "python -m fraudlab.performance" in refused.said["error"]
    assert "serving.record_to" not in refused.said["error"]  # which it has
    assert "path" not in server.ask("/statistics").said["refusals"]
    assert "fraudlab_performance{" not in server.ask("/metrics").text
    folder = server.log.parent / "record"
    numbers = {"value": 0.5, "low": 0.25, "high": None}
    week: dict[str, Any] = {"bundle_version": "a", "rows": 5.0, "realised": None, "estimated": None}
    weeks = [
        {**week, "week": "2026-01-05", "realised": {"recall": {"value": 0.75, "low": None}}},
        {**week, "week": "2026-01-12", "realised": {"recall": {"value": 1.0}}, "rows": 9.0},
        {**week, "week": "2026-01-12", "realised": {"recall": {"value": 0.0}}, "bundle_version": "b"},
        {**week, "week": "2026-01-19", "estimated": {"recall": numbers}},
    ]
    report = {"as_of": "2026-02-01T00:00:00+00:00", "weeks": weeks, "past_estimates": {}}
    kept.keep(folder, {**report, "as_of": "2026-01-31T00:00:00+00:00", "weeks": []})
    kept.keep(folder, report)
    old = {name: report[name] for name in ("as_of", "weeks")}  # as earlier versions kept it
    kept.keep(folder, {**old, "as_of": "2026-02-02T00:00:00+00:00"})
    paths = server.ask("/openapi.json").said["paths"]
    assert {"/alerts", "/performance", "/statistics"} <= paths.keys()
    shown = server.ask("/performance").said
    assert shown["as_of"] == report["as_of"]
    assert shown["weeks"][3]["estimated"]["recall"] == numbers
    lines = [line for line in server.ask("/metrics").text.splitlines() if line.startswith("fraudlab_performance{")]
    assert sorted(lines) == [
        'fraudlab_performance{kind="estimated",metric="recall",of="low"} 0.25',
        'fraudlab_performance{kind="estimated",metric="recall",of="value"} 0.5',
        'fraudlab_performance{kind="realised",metric="recall",of="value"} 1.0',
    ]


def test_a_reload_forgets_alerts_and_goes_on_counting(server: Server) -> None:
    before = server.ask("/statistics").said
    server.process.send_signal(signal.SIGHUP)
    until(lambda: "is in service in place of" in server.log.read_text())
    until(lambda: server.ask("/alerts").said["kept"] == 0)
    after = server.ask("/statistics").said
    assert (after["since"], after["scored"]) == (before["since"], before["scored"])


def test_without_a_record_there_are_no_alerts_but_statistics(exported: tuple[Path, Path], tmp_path: Path) -> None:
    with Server(exported[1], tmp_path) as server:
        refused = server.ask("/alerts")
        assert (refused.status, "serving.record_to" in refused.said["error"]) == (404, True)
        assert server.ask("/performance").status == 404
        said = server.ask("/statistics").said
        assert said["alerts_per_1000"]["high"]["seen"] is None
        assert said["seconds"]["total"] == {"p50": None, "p95": None, "p99": None}
        paths = json.loads(server.ask("/openapi.json").text)["paths"]
        assert {"/alerts", "/performance", "/statistics"} & paths.keys() == {"/statistics"}
