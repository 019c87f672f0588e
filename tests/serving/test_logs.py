"""The log: JSON lines with time, level and request; a start, a ready and an end; nothing of a client's data."""

import json
import socket
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from fraudlab import bundle as bundles
from tests.support.server import Server


def _lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_a_server_tells_its_start_each_answer_and_its_end(exported: tuple[Path, Path], tmp_path: Path) -> None:
    record = {**bundles.load(exported[1]).golden()[0]["record"], "P_emaildomain": "a-secret.example"}
    with Server(exported[1], tmp_path, "serving.access_log=true") as server:
        server.predict(record, "?explain=1&who=a-secret.example", headers={"X-Request-ID": "mine-1"})
        server.ask("/a-secret.example")
        for head in (
            b"a-secret.example\r\n\r\n",
            b"GET /info?a-secret.example HTTP/1.1\r\nX-Request-ID: mine-2\r\n\r\n",
        ):
            with socket.create_connection(("127.0.0.1", server.port), timeout=15) as client:
                client.sendall(head)
                assert client.recv(12) == b"HTTP/1.1 400"
        assert 'fraudlab_requests_total{path="other",status="400"} 2.0' in server.ask("/metrics").text
        assert server.end() == 0
    text = server.log.read_text()
    lines = _lines(text)
    assert len(lines) == len(text.splitlines()), text
    assert all(datetime.fromisoformat(line["time"]).utcoffset() is not None for line in lines)
    told = [line["message"].partition(":")[0] for line in lines if line["logger"] == "fraudlab.serving.app"]
    assert [each for each in told if each in ("start", "ready", "end")] == ["start", "ready", "end"]
    answers = [line for line in lines if line["message"] == "answer" and not line["path"].startswith("/health")]
    assert [(each.get("method"), each["path"], each["status"]) for each in answers] == [
        ("POST", "/predict", 200),
        ("GET", "other", 404),
        (None, "other", 400),  # before the app saw it
        ("GET", "/info", 400),
        ("GET", "/metrics", 200),
    ]
    assert answers[3]["request_id"] == "mine-2"
    assert (answers[0]["request_id"], answers[0]["key"]) == ("mine-1", "key_1")
    assert 0 < answers[0]["milliseconds"] < 5000
    assert "a-secret" not in text


def test_an_exception_is_told_without_what_it_says() -> None:
    program = """
import logging
from fraudlab.errors import UserError
from fraudlab.serving import logs
logs.configure()
log = logging.getLogger("fraudlab.x")
for error in (ValueError("a client's secret"), UserError("the bundle was replaced")):
    try:
        raise error
    except ValueError:
        log.exception("no score")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    of_code, of_ours = _lines(done.stderr)
    assert (of_code["message"], of_code["exception"], of_code["level"]) == ("no score", "ValueError", "error")
    assert of_code["raised_at"] == ["<string>:9"]
    assert "secret" not in done.stderr
    assert of_ours["reason"] == "the bundle was replaced"


def test_lines_of_one_kind_are_bounded_and_the_rest_is_counted() -> None:
    program = """
import logging
from types import SimpleNamespace
from fraudlab.serving import logs
now = 1000.0
logs.time = SimpleNamespace(monotonic=lambda: now)
logs.configure()
def burst(lines):
    for number in range(lines):
        logging.getLogger("fraudlab.x").warning("of one kind: %d", number)
burst(1000)
logging.getLogger("fraudlab.x").warning("of another")
for number in range(30):
    logging.getLogger(logs.ACCESS).info("answer")
now += 11
burst(2)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    lines = _lines(done.stderr)
    assert [line["message"] for line in lines] == [
        *(f"of one kind: {number}" for number in range(10)),
        "of another",
        *["answer"] * 30,
        "of one kind: 0",
        "of one kind: 1",
    ]
    assert [line.get("suppressed") for line in lines[-2:]] == [990, None]
