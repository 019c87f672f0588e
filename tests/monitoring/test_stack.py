"""Rules, routes and dashboards: as committed, by Prometheus's own tools, and with real Prometheus and Alertmanager."""

import json
import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import psutil
import pytest
import yaml

from benchmarks.watching import ALERTMANAGER, PROMETHEUS
from fraudlab.monitoring import kept
from fraudlab.monitoring.stack.__main__ import write
from fraudlab.monitoring.stack.rules import rules
from tests.support.prometheus import AMTOOL, PROMTOOL, Stack
from tests.support.server import KEY, Server, until

COMMITTED = Path(__file__).parents[2] / "deploy" / "monitoring"
RULES = [rule for group in rules()["groups"] for rule in group["rules"]]


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted((COMMITTED / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            yield path.stem, panel


def selected(expression: str) -> set[str]:
    """Names of the metrics in an expression."""
    plain = expression.replace("$__rate_interval", "5m")
    found: set[str] = set()

    def look(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.add(node.name)
        for name in ("expr", "lhs", "rhs", "param", "vector_selector", "selector"):
            if (child := getattr(node, name, None)) is not None:
                look(child)
        for child in getattr(node, "args", None) or []:
            look(child)

    look(promql_parser.parse(plain))
    return found


def test_the_committed_files_are_what_the_module_makes(tmp_path: Path) -> None:
    urls = ("http://localhost:9999/page", "http://localhost:9999/ticket")
    write(tmp_path, ["localhost:8000"], ["localhost:9093"], "/etc/prometheus/fraudlab.key", urls, 1.0)
    made = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*.*") if path.is_file()}
    committed = {path.relative_to(COMMITTED): path.read_text() for path in COMMITTED.rglob("*.*") if path.is_file()}
    assert made == committed


def test_dashboards_can_be_read_by_whoever_opens_them() -> None:
    titles = []
    for name, panel in panels():
        titles.append((name, panel["title"]))
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for target in panel["targets"]:
            assert target["legendFormat"]
            assert "$job" in target["expr"]
            for word in ("_total{", "_bucket{", "_sum{", "_count{"):  # counters only in rates
                assert (word in target["expr"]) <= ("rate(" in target["expr"] or "increase(" in target["expr"])
    assert len(titles) == len(set(titles)) >= 20
    assert all(0 <= panel["gridPos"]["x"] <= 16 for _, panel in panels())


@pytest.mark.skipif(PROMTOOL is None, reason="apt-get install prometheus")
def test_alerts_fire_and_do_not_by_promtool(tmp_path: Path) -> None:
    """Of 1,000 requests a minute 2 % late: 20 times the budget; of 1 a minute one late is no page."""
    target = 'instance="a:1",job="fraudlab"'
    total, fast = (
        f'fraudlab_request_seconds_{name}{{{target},stage="total"{le}}}'
        for name, le in (("count", ""), ("bucket", ',le="0.256"'))
    )
    failed = f'fraudlab_requests_total{{{target},path="/predict",status="503"}}'
    alerts = f'fraudlab_alerts_per_1000{{{target},level="high",of='

    def of(name: str, more: str = "") -> str:
        return f"{name}{{{target}{more}}}"

    def case(series: dict[str, str], at: str, fires: dict[str, list[dict[str, str]]]) -> dict[str, Any]:
        return {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "alert_rule_test": [
                {"eval_time": at, "alertname": name, "exp_alerts": [{"exp_labels": labels} for labels in each]}
                for name, each in fires.items()
            ],
        }

    one = {"job": "fraudlab", "severity": "ticket"}
    here = {**one, "instance": "a:1"}
    busy = {total: "0+1000x120", fast: "0+980x120"}
    quiet = {total: "0+1x120", fast: "0+1x60 60x60", failed: "0x60 0+1x60"}
    cases = [
        case(busy, "2h", {"FraudlabLate1h": [{**one, "severity": "page"}], "FraudlabFailsAtLowTraffic": []}),
        case({total: "0+1000x120", fast: "0+1000x120"}, "2h", {"FraudlabLate1h": [], "FraudlabLate3d": []}),
        case(quiet, "2h", {"FraudlabLate1h": [], "FraudlabFailsAtLowTraffic": [one]}),
        case({of("fraudlab_workers"): "2 1x10", of("fraudlab_workers_wanted"): "2x11"}, "5m",
             {"FraudlabWorkersMissing": [here]}),
        case({of("up"): "1 0x10"}, "8m", {"FraudlabDown": [{**here, "severity": "page"}], "FraudlabGone": []}),
        case({"up{job=\"other\"}": "1x10"}, "8m", {"FraudlabGone": [{**one, "severity": "page"}]}),
        case({f'{alerts}"low"}}': "8x90", f'{alerts}"high"}}': "9x90", f'{alerts}"budget"}}': "5x90"}, "80m",
             {"FraudlabManyAlerts": [{**here, "level": "high"}], "FraudlabFewAlerts": []}),
        case({f'{alerts}"low"}}': "1x90", f'{alerts}"high"}}': "2x90", f'{alerts}"budget"}}': "5x90"}, "80m",
             {"FraudlabManyAlerts": [], "FraudlabFewAlerts": [{**here, "level": "high"}]}),
        case({of("fraudlab_scores_total", ',risk_level="low"'): "0+60x60",
              of("fraudlab_recorded_total"): "0+60x20 1200x40"}, "59m", {"FraudlabRecordStopped": [here]}),
        case({of("fraudlab_challenger_up"): "1x100",
              of("fraudlab_challenger_dropped_total", ',reason="late"'): "0+30x100",
              of("fraudlab_challenger_scores_total", ',champion="low",challenger="low"'): "0+1x100"}, "80m",
             {"FraudlabChallengerDown": [], "FraudlabChallengerDrops": [here]}),  # 3 % are scored
        case({of("fraudlab_challenger_dropped_total", ',reason="failed"'): "0+30x100"}, "80m",
             {"FraudlabChallengerDrops": [here]}),  # none is
        case({of("fraudlab_challenger_dropped_total", ',reason="late"'): "0x100",
              of("fraudlab_challenger_scores_total", ',champion="low",challenger="low"'): "5x100"}, "80m",
             {"FraudlabChallengerDrops": []}),  # no traffic
        case({of("fraudlab_challenger_up"): "1x10 0x90",
              of("fraudlab_challenger_dropped_total", ',reason="late"'): "0+60x100",
              of("fraudlab_challenger_scores_total", ',champion="low",challenger="low"'): "0+10x100"}, "80m",
             {"FraudlabChallengerDown": [here], "FraudlabChallengerDrops": []}),  # 14 %: it rests under load
    ]  # fmt: skip
    write(tmp_path, ["a:1"], ["b:1"], "key", ("http://c", "http://d"), 1.0)
    bare = rules()  # without their words, which promtool would compare
    for group in bare["groups"]:
        for rule in group["rules"]:
            rule.pop("annotations", None)
    (tmp_path / "bare.yml").write_text(yaml.safe_dump(bare))
    (tmp_path / "tests.yml").write_text(yaml.safe_dump({"rule_files": ["bare.yml"], "tests": cases}))
    assert PROMTOOL is not None
    for words in (("check", "rules", "rules.yml"), ("test", "rules", "tests.yml")):
        done = subprocess.run([PROMTOOL, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    if AMTOOL is not None:
        done = subprocess.run(
            [AMTOOL, "check-config", "alertmanager.yml"], cwd=tmp_path, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
        routed = [AMTOOL, "config", "routes", "test", "--config.file=alertmanager.yml", "severity=page"]
        done = subprocess.run(routed, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.stdout.strip() == "page"


class Load:
    """Golden records of a bundle, one request after the other, until it is told to stop."""

    def __init__(self, server: Server, bundle: Path) -> None:
        lines = (bundle / "golden.jsonl").read_text().splitlines()
        self.records = [json.loads(line)["record"] for line in lines]
        self._server, self._stop = server, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            try:
                self._server.predict(self.records[:20])
            except OSError:
                return

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)


def test_every_query_gives_data_after_a_short_load(exported: tuple[Path, Path], tmp_path: Path) -> None:
    """All metrics of the rules and panels are a real server's, and Prometheus has values for each panel."""
    if PROMETHEUS is None or ALERTMANAGER is None:
        pytest.skip("no Prometheus here: apt-get install prometheus prometheus-alertmanager")
    recorded = (f"serving.record_to={tmp_path}/record", "serving.record_share=1.0", f"serving.challenger={exported[1]}")
    keys = tmp_path / "keys"
    keys.write_text(f"operator:score,label,read,metrics:{KEY}\n")
    keys.chmod(0o600)
    with Server(exported[1], tmp_path, *recorded, f"serving.api_key_file={keys}") as server:
        load = Load(server, exported[1])
        said = [{"request_id": "none", "position": 0, "fraud": True, "source": "bank"}]
        assert server.ask("/labels", json.dumps(said).encode()).status == 200
        assert server.predict([{"TransactionAmt": "x"}]).status == 422
        names = ("average_precision", "precision", "recall")
        it = {name: {"value": 0.5, "low": 0.4, "high": 0.6} for name in names}
        weeks = [{"week": f"2026-01-0{n}", "rows": 9, "realised": None, "estimated": None} for n in (1, 8)]
        weeks[0]["realised"] = weeks[1]["estimated"] = it
        kept.keep(tmp_path / "record", {"as_of": "2026-01-15T00:00:00+00:00", "weeks": weeks, "past_estimates": {}})
        with Stack(tmp_path, [server.port], KEY) as stack:
            late = {f"fraudlab:late:share_{window}" for window in ("5m", "30m", "1h", "2h", "6h", "1d", "3d")}
            asked = [rule["expr"] for rule in RULES] + [t["expr"] for _, panel in panels() for t in panel["targets"]]
            known = {name for each in asked for name in selected(each)} - late - {"up"}

            def missing() -> set[str]:  # drift is counted once a second
                return known - {re.split(r"[{ ]", line)[0] for line in server.ask("/metrics").text.splitlines()}

            # Nothing to count here, or not where the processor is busy.
            empty = {"fraudlab_without_history", "fraudlab_unknown_values", "fraudlab_challenger_scores"}
            until(lambda: not missing() - {f"{name}_total" for name in empty}, 60)
            for _, panel in panels():
                for target in panel["targets"]:
                    expression = target["expr"].replace("$__rate_interval", "5s")
                    expression = expression.replace("$job", ".+").replace("$instance", ".+")
                    if not any(word in expression for word in empty):
                        until(lambda query=expression: bool(stack.query(query)), 60)
            assert not stack.query('ALERTS{alertname=~"FraudlabDown|FraudlabNotReady|FraudlabRecordStopped"}')
        load.stop()


@pytest.mark.slow
def test_trouble_is_told_and_its_end_too(exported: tuple[Path, Path], tmp_path: Path) -> None:
    """A worker is killed, transactions change, the disk is full, labels stay away, the server is gone."""
    if PROMETHEUS is None or ALERTMANAGER is None:
        pytest.skip("no Prometheus here: apt-get install prometheus prometheus-alertmanager")
    told = json.dumps([{"request_id": "none", "position": 0, "fraud": True, "source": "bank"}]).encode()
    server = Server(exported[1], tmp_path, f"serving.record_to={tmp_path}/record")
    with Stack(tmp_path, [server.port], KEY, speed=3600) as stack:
        until(lambda: bool(stack.query("fraudlab_ready == 1")), 60)
        assert not stack.query("fraudlab_drift_alarm == 1")
        load = Load(server, exported[1])  # the same twenty records again and again
        server.worker().kill()
        stack.fires("FraudlabWorkersDie")
        stack.fires("FraudlabDrift")
        stack.resolves("FraudlabWorkersDie")
        (journal,) = (tmp_path / "record").glob("_journal/*/*.jsonl")
        family = psutil.Process(server.process.pid).children(recursive=True)
        (writes,) = (each for each in family if any(file.path == str(journal) for file in each.open_files()))
        resource.prlimit(writes.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))  # as a full disk
        stack.fires("FraudlabRecordLost")
        resource.prlimit(writes.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        stack.resolves("FraudlabRecordLost")
        load.stop()
        server.process.send_signal(signal.SIGHUP)  # a reload: drift is counted anew
        stack.resolves("FraudlabDrift")
        stack.fires("FraudlabLabelsStale", 120)  # three days, at this speed 72 seconds
        assert server.ask("/labels", told).status == 200
        stack.resolves("FraudlabLabelsStale")
        server.end()
        stack.fires("FraudlabDown")
        assert ("firing", "/page") in stack.webhook.told["FraudlabDown"]
        assert {path for _, path in stack.webhook.told["FraudlabLabelsStale"]} == {"/ticket"}


@pytest.mark.slow
def test_the_whole_loop_runs_on_one_machine(tmp_path: Path) -> None:
    words = ["-m", "benchmarks.monitor", "--once", "--share", "0.02", "--out", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "out" / "performance" / "performance.json").read_text())
    assert [week["mature"] for week in report["weeks"]].count(True) >= 4
    assert report["weeks"][-1]["estimated"]["frauds"]["high"] > report["weeks"][-1]["frauds_told"]
    assert report["labels_of_no_transaction"] == 0
    drift = json.loads((tmp_path / "out" / "drift" / "drift.json").read_text())
    assert drift["rows"] == report["transactions"]
