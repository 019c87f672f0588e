"""Requests that no client should send, against a real server: none gives 5xx, none does harm."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.serving import malformed
from benchmarks.serving.load import closed
from fraudlab import bundle as bundles
from tests.support.server import KEY, Server


@pytest.fixture(scope="module")
def server(exported: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(exported[1], tmp_path_factory.mktemp("server"), env={"FRAUDLAB_API_KEY": ""}) as started:
        yield started


def test_the_fuzzer_breaks_nothing(server: Server, exported: tuple[Path, Path]) -> None:
    """The same requests as ``python -m benchmarks.serving --only malformed`` sends, fewer of them."""
    golden = bundles.load(exported[1]).golden()
    requests = malformed.requests([row["record"] for row in golden[:20]], 400, seed=1)
    worker = server.worker().pid
    load = closed(("127.0.0.1", server.port), requests, clients=8, number=len(requests))
    assert sum(load.statuses.values()) == 400
    assert set(load.statuses) <= {"200", "400", "404", "405", "413", "415", "422"}
    assert load.statuses["422"] > 200
    assert server.worker().pid == worker
    assert server.predict(golden[0]["record"]).said["score"] == pytest.approx(golden[0]["score"], abs=1e-6)


def test_the_answers_keep_to_the_description(exported: tuple[Path, Path], tmp_path: Path) -> None:
    """schemathesis draws sound and broken requests from the server's OpenAPI page and holds the answers against it."""
    with Server(exported[1], tmp_path) as server:
        command = [str(Path(sys.executable).with_name("st")), "run", f"http://127.0.0.1:{server.port}/openapi.json"]
        command += ["--header", f"X-API-Key: {KEY}", "--phases", "examples,fuzzing", "--mode", "all"]
        command += ["--max-examples", "40", "--seed", "0", "--generation-database", "none", "--no-color"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout[-4000:]
        assert "No issues found" in done.stdout
        assert server.worker().is_running()
