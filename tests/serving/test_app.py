"""A real server over a real bundle: scores, refusals, probes, figures, a dead worker, a quiet end."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import psutil
import pytest

from fraudlab import bundle as bundles
from fraudlab.bundle import Bundle

KEY = "k" * 32


class Answer(NamedTuple):
    status: int
    headers: Any
    text: str

    @property
    def said(self) -> Any:
        return json.loads(self.text)


class Server:
    """``python -m fraudlab.serve`` on a free port, until it is ready."""

    def __init__(self, bundle: Path, folder: Path, *overrides: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = folder / "server.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fraudlab.serve", f"bundle={bundle}", f"serving.port={self.port}", *overrides],
                cwd=folder,
                env={**os.environ, "FRAUDLAB_API_KEY": KEY, "FRAUDLAB_HASH_KEY": "h" * 32},
                stdout=log,
                stderr=log,
            )
        for _ in range(600):
            if self.process.poll() is not None:
                raise AssertionError(self.log.read_text())
            if self.ready():
                return
            time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def ready(self) -> bool:
        try:
            return self.ask("/health/ready", key=None).status == 200
        except OSError:
            return False

    def ask(
        self, path: str, body: bytes | None = None, *, key: str | None = KEY, headers: dict[str, str] | None = None
    ) -> Answer:
        given = {"Content-Type": "application/json", **({"X-API-Key": key} if key else {}), **(headers or {})}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, given)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Answer(answer.status, answer.headers, answer.read().decode())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, error.read().decode())

    def predict(self, asked: Any, query: str = "", **options: Any) -> Answer:
        return self.ask(f"/predict{query}", json.dumps(asked).encode(), **options)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@pytest.fixture(scope="module")
def bundle(exported: tuple[Path, Path]) -> Bundle:
    return bundles.load(exported[1])


@pytest.fixture(scope="module")
def record(bundle: Bundle) -> dict[str, Any]:
    return bundle.golden()[0]["record"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recorded")


@pytest.fixture(scope="module")
def server(exported: tuple[Path, Path], recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    limits = ("serving.max_records=10", "serving.max_body_bytes=200000", "serving.unknown_fields=refuse")
    started = Server(exported[1], tmp_path_factory.mktemp("server"), *limits, f"serving.record_to={recorded}")
    yield started
    assert started.end() == 0
    # What was recorded: every answered record, its card behind a keyed hash.
    rows = pl.read_parquet(recorded / "*.parquet")
    assert len(rows) >= 5
    assert rows["score"].is_between(0, 1).all()


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
    needed = ("TransactionID", "TransactionDT", "TransactionAmt", "card1")
    assert server.predict({name: record[name] for name in needed}).status == 200


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
    assert server.ask("/docs").status == 200


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
    family = psutil.Process(server.process.pid).children(recursive=True)
    worker = next(process for process in family if _scores(process))
    worker.kill()
    for _ in range(500):  # LitServe looks after its workers every two seconds
        if not server.ready():
            break
        time.sleep(0.02)
    for _ in range(300):
        if server.ready() and (answer := server.predict(record)).status == 200:
            break
        time.sleep(0.1)
    assert answer.said["score"] == score


def _scores(process: psutil.Process) -> bool:
    """Whether a process is a worker: spawned, as the one that records is, and with the model's runtime mapped."""
    runtime = any("onnxruntime" in each.path for each in process.memory_maps())
    return runtime and "--multiprocessing-fork" in process.cmdline()


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
    code = server.end()
    stop.set()
    for each in clients:
        each.join(20)
    assert code == 0
    assert len(statuses) > 20
    assert set(statuses) == {200}


def test_mistakes_are_told(door: Any, exported: tuple[Path, Path], tmp_path: Path) -> None:
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
    assert "is no bundle" in said(f"bundle={tmp_path}")
    assert "16 characters" in said(f"bundle={exported[1]}", env={"FRAUDLAB_API_KEY": "short"})
    assert "serving.port" in said("serving.port=80")
