"""A real server over a real bundle: scores, refusals, probes, metrics, a dead worker, a quiet end."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fraudlab import bundle as bundles
from fraudlab.bundle import Bundle
from tests.support.server import Server


@pytest.fixture(scope="module")
def bundle(exported: tuple[Path, Path]) -> Bundle:
    return bundles.load(exported[1])


@pytest.fixture(scope="module")
def record(bundle: Bundle) -> dict[str, Any]:
    return bundle.golden()[0]["record"]


@pytest.fixture(scope="module")
def server(exported: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    limits = ("serving.max_records=10", "serving.max_body_bytes=200000", "serving.unknown_fields=refuse")
    started = Server(exported[1], tmp_path_factory.mktemp("server"), *limits)
    yield started
    assert started.end() == 0


def test_scores_are_the_bundles(server: Server, bundle: Bundle) -> None:
    golden = bundle.golden()[:8]
    records = [row["record"] for row in golden]
    answer = server.predict(records)
    assert answer.status == 200, answer.text
    found = [each["score"] for each in answer.said["predictions"]]
    assert found == pytest.approx(bundle.predict(records).tolist(), abs=1e-6)
    assert [each["risk_level"] for each in answer.said["predictions"]] == [bundle.decision.level(s) for s in found]
    alone = server.predict(records[0], headers={"X-Request-ID": "mine-1"})
    assert alone.said["score"] == pytest.approx(found[0], abs=1e-6)
    assert alone.said["bundle_version"] == bundle.version
    assert alone.said["request_id"] == alone.headers["X-Request-ID"] == "mine-1"


def test_reasons(server: Server, bundle: Bundle, record: dict[str, Any]) -> None:
    reasons = server.predict(record, "?explain=3").said["reasons"]
    expected = bundle.explain([record], k=3)[0]
    assert [reason["field"] for reason in reasons] == [reason.column for reason in expected]
    assert [reason["share"] for reason in reasons] == pytest.approx([reason.share for reason in expected], abs=1e-6)
    assert server.predict(record, "?explain=x").status == 422


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"TransactionAmt": "twelve"}, "TransactionAmt"),
        ({"TransactionAmt": None}, "TransactionAmt"),
        ({"V1": True}, "V1"),
        ({"P_emaildomain": 5}, "P_emaildomain"),
        ({"D1": [1]}, "D1"),
        ({"nobody": 1}, "nobody"),
    ],
)
def test_a_wrong_field_is_named(server: Server, record: dict[str, Any], change: dict[str, Any], named: str) -> None:
    answer = server.predict([record, {**record, **change}])
    assert answer.status == 422
    assert named in answer.text
    assert answer.said["problems"][0]["record"] == 1


def test_a_required_field_is_missed_and_an_optional_one_is_not(server: Server, record: dict[str, Any]) -> None:
    assert server.predict({"TransactionDT": 86400}).status == 422
    needed = [field["name"] for field in server.ask("/info").said["schema"]["fields"] if field["required"]]
    assert "C1" in needed  # no training row lacked it
    assert "P_emaildomain" not in needed
    assert server.predict({**dict.fromkeys(record), **{name: record[name] for name in needed}}).status == 200
    del needed[needed.index("C1")]
    refused = server.predict({name: record[name] for name in needed})
    assert (refused.status, "field C1: required" in refused.said["error"]) == (422, True)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 5000, b"[" * 1000 + b"]" * 1000,
     b'{"TransactionAmt": NaN}', b'{"a": 1, "a": 2}',
     b'{"TransactionAmt": 1e999}', b"[[1]]", b"{} {}"],
)  # fmt: skip
def test_what_is_no_strict_json_of_records_is_refused(server: Server, body: bytes) -> None:
    assert server.ask("/predict", body).status == 422


def test_limits_and_ways(server: Server, record: dict[str, Any]) -> None:
    assert server.predict([record] * 11).status == 422
    assert server.ask("/predict", b" " * 200_001).status == 413
    assert server.ask("/predict", b"x=1", headers={"Content-Type": "text/plain"}).status == 415
    assert server.ask("/predict").status == 405
    assert server.ask("/nowhere").status == 404


def test_keys_open_all_but_the_probes(server: Server, record: dict[str, Any]) -> None:
    for key in (None, "wrong" * 5):
        assert server.predict(record, key=key).status == 401
        assert server.ask("/metrics", key=key).status == 401
        assert server.ask("/health/live", key=key).status == 200
        assert server.ask("/health/ready", key=key).status == 200


def test_info_and_docs(server: Server, bundle: Bundle) -> None:
    info = server.ask("/info").said
    assert bundle.version in json.dumps(info)
    document = server.ask("/openapi.json").said
    examples = re.findall(r'"example": (\{"Tra.*?\})', json.dumps(document))
    assert examples, "no filled-in example"
    assert server.ask("/predict", examples[0].encode()).status == 200


def _metric(server: Server, start: str) -> float:
    return sum(float(line.split()[-1]) for line in server.ask("/metrics").text.splitlines() if line.startswith(start))


def test_metrics_count(server: Server, record: dict[str, Any]) -> None:
    before = _metric(server, "fraudlab_scores_total"), _metric(server, "fraudlab_missing_values_total")
    server.predict([{**record, "P_emaildomain": None}, record])
    server.predict({"TransactionDT": 1})
    assert _metric(server, "fraudlab_scores_total") == before[0] + 2
    assert "fraudlab_" in server.ask("/metrics").text
    assert 'status="422"' in server.ask("/metrics").text


def test_malformed_requests_harm_nothing(server: Server, record: dict[str, Any]) -> None:
    draw = random.Random(0)
    whole = json.dumps(record).encode()
    for _ in range(150):
        body = bytearray(whole)
        for _ in range(draw.randint(1, 5)):
            place = draw.randrange(len(body))
            body[place : place + draw.randint(0, 4)] = bytes(draw.randrange(256) for _ in range(draw.randint(0, 4)))
        assert server.ask("/predict", bytes(body)).status in (200, 422)
    assert server.predict(record).status == 200


def test_a_dead_worker_is_replaced(server: Server, record: dict[str, Any]) -> None:
    score = server.predict(record).said["score"]
    server.worker().kill()
    for _ in range(500):
        if (said := server.ask("/health/ready", key=None)).status == 503:
            break
        time.sleep(0.005)
    assert (said.status, said.said["ready"], said.said["workers"]) == (503, False, {"up": 0, "wanted": 1})
    during = server.predict(record)  # waits for the next worker
    assert (during.status, during.said.get("score")) in ((200, score), (504, None))
    for _ in range(300):
        if server.ready() and (answer := server.predict(record)).status == 200:
            break
        time.sleep(0.1)
    assert answer.said["score"] == score
    assert _metric(server, "fraudlab_worker_failures_total") == 1


def test_the_end_loses_no_request(exported: tuple[Path, Path], record: dict[str, Any], tmp_path: Path) -> None:
    server = Server(exported[1], tmp_path)
    statuses: list[int] = []
    stop = threading.Event()

    def client() -> None:
        while not stop.is_set():
            try:
                statuses.append(server.predict(record).status)
            except ConnectionRefusedError:
                return
            except urllib.error.URLError as error:
                if isinstance(error.reason, ConnectionRefusedError):
                    return
                statuses.append(0)
                return

    clients = [threading.Thread(target=client) for _ in range(8)]
    for each in clients:
        each.start()
    time.sleep(1)
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    code = server.end()  # a second signal does not break off the end
    stop.set()
    for each in clients:
        each.join(20)
    assert code == 0
    assert len(statuses) > 20
    assert set(statuses) == {200}
    assert "CancelledError" not in server.log.read_text()


def test_mistakes_are_told(command: Any, exported: tuple[Path, Path], tmp_path: Path) -> None:
    program = [sys.executable, "-m", "fraudlab.serve"]

    def said(*overrides: str, env: dict[str, str] | None = None) -> str:
        done = subprocess.run(
            [*program, *overrides],
            cwd=tmp_path,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode != 0
        return done.stderr

    assert "no bundle" in said()
    assert "is not a bundle" in said(f"bundle={tmp_path}")
    assert "16 characters" in said(f"bundle={exported[1]}", env={"FRAUDLAB_API_KEY": "short"})
    assert "serving.port" in said("serving.port=0")
