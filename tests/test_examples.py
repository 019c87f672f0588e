"""The examples run as a reader runs them; the clients ask a real server."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fraudlab.bundle import load
from fraudlab.monitoring import labels
from tests.conftest import FORMAT_1, REPOSITORY
from tests.page.gate import Gate
from tests.support.commands import Commands
from tests.support.server import KEY, Server, until

EXAMPLES = REPOSITORY / "examples"
BUNDLE = FORMAT_1 / "bundle_with_masks"
CLIENTS = {"client.py": sys.executable, "client.mjs": "node", "client.sh": "sh"}
NEEDED = {"client.sh": "curl"}  # beside what runs it

Client = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(BUNDLE, tmp_path_factory.mktemp("served"), "serving.record_to=record") as started:
        yield started


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest, server: Server) -> Client:
    """Runs a client; ``port`` is the server's unless told, ``key`` a valid one."""
    if shutil.which(needed := NEEDED.get(request.param, CLIENTS[request.param])) is None:
        pytest.skip(f"no {needed} here")

    def run(*words: str, port: int = server.port, key: str = KEY) -> subprocess.CompletedProcess[str]:
        variables = {**os.environ, "FRAUDLAB_URL": f"http://127.0.0.1:{port}", "FRAUDLAB_API_KEY": key}
        command = [CLIENTS[request.param], str(EXAMPLES / request.param), *words]
        return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)

    return run


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("records") / "records.json"
    path.write_text(json.dumps([row["record"] for row in load(BUNDLE).golden()[:3]]))
    return path


def test_a_client_scores_and_labels(client: Client, server: Server, records: Path) -> None:
    done = client("score", str(records))
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    expected = [row["score"] for row in load(BUNDLE).golden()[:3]]
    assert [one["score"] for one in answer["predictions"]] == pytest.approx(expected, abs=1e-6)
    assert [len(one["reasons"]) for one in answer["predictions"]] == [3, 3, 3]
    told = client("label", answer["request_id"], "1", "true")
    assert told.returncode == 0, told.stderr
    kept = labels.told(server.log.parent / "record").row(-1, named=True)
    assert (kept["request_id"], kept["position"], kept["fraud"], kept["source"]) == (
        answer["request_id"], 1, True, "desk",
    )  # fmt: skip


def test_a_client_asks_a_busy_server_again_and_tells_a_refusal(client: Client, server: Server, records: Path) -> None:
    with Gate(server.port) as gate:
        gate.busy = True
        gate._asked = 1  # the next request is refused
        done = client("score", str(records), port=gate.port)
        assert done.returncode == 0, done.stderr
        assert gate.refused == 1
        until(lambda: gate.scored)  # noted once the client has its answer
        assert len(gate.scored) == 3
    refused = client("score", str(records), key="no key")
    assert refused.returncode != 0
    assert "401" in refused.stderr
    assert refused.stdout == "" or "error" in json.loads(refused.stdout)


def test_the_pipeline_is_better_than_chance(commands: Commands, tmp_path: Path) -> None:
    done = commands.run([str(EXAMPLES / "sklearn_pipeline.py")], tmp_path, dict(os.environ))
    assert done.returncode == 0, done.stderr
    *scores, chance = map(float, re.findall(r"0\.\d+", done.stdout))
    assert len(scores) == 3
    assert min(scores) > 3 * chance


@pytest.mark.slow
def test_the_cells_for_colab_end_with_a_bundle(commands: Commands, tmp_path: Path) -> None:
    done = commands.run([str(EXAMPLES / "colab.py")], tmp_path, dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert "pip" not in done.stderr  # it is installed already
    score = float(re.search(r"^score: (\S+)$", done.stdout, re.MULTILINE)[1])
    bundle = load(tmp_path / "first_model" / "bundle")
    assert score == pytest.approx(bundle.golden()[0]["score"], abs=5e-4)


def test_the_readme_lists_every_example() -> None:
    listed = set(re.findall(r"`(\w+\.\w+)`", (EXAMPLES / "README.md").read_text(encoding="utf-8")))
    assert {path.name for path in EXAMPLES.glob("*.*") if path.name != "README.md"} <= listed
