"""Who ends when who else ends, hangs or cannot start; and what a reload changes."""

import json
import shutil
import signal
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from fraudlab import bundle as bundles
from tests.support.bundles import signed
from tests.support.server import KEY, Server, until


@pytest.fixture(scope="module")
def record(exported: tuple[Path, Path]) -> dict[str, Any]:
    return bundles.load(exported[1]).golden()[0]["record"]


@pytest.fixture
def bundle(exported: tuple[Path, Path], tmp_path: Path) -> Path:
    return shutil.copytree(exported[1], tmp_path / "bundle")


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"ops:score,metrics:{KEY}\n")
    path.chmod(0o600)
    return path


def replace(bundle: Path) -> str:
    """Put another version in the bundle's place; gives its version."""
    decision = json.loads((bundle / "decision.json").read_text())
    (bundle / "decision.json").write_text(json.dumps({**decision, "budget": {"medium": 1, "high": 1}}))
    return bundles.load(signed(bundle)).version


def count(server: Server, name: str) -> float:
    lines = server.ask("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(name)).split()[-1])


def failures(server: Server) -> float:
    return count(server, "fraudlab_worker_failures_total")


def scored(server: Server) -> float:
    return count(server, 'fraudlab_requests_total{path="/predict",status="200"}')


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, *(pytest.param(n, marks=pytest.mark.slow) for n in (signal.SIGUSR1, signal.SIGQUIT))]
)
def test_no_process_outlives_the_first_one(exported: tuple[Path, Path], tmp_path: Path, number: signal.Signals) -> None:
    settings = (f"serving.record_to={tmp_path}/record", "serving.workers=2")
    with Server(exported[1], tmp_path, *settings) as server:
        family = psutil.Process(server.process.pid).children(recursive=True)
        assert len(family) >= 5  # LitServe's manager, two workers, HTTP, the record's writer
        server.process.send_signal(number)
        status = server.process.wait(20)
        assert status == (0 if number == signal.SIGQUIT else -number)
        assert psutil.wait_procs(family, timeout=10)[1] == []
        with socket.socket() as free:  # and the port is free again
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(("127.0.0.1", server.port))


@pytest.mark.slow
def test_none_that_is_still_starting_either(exported: tuple[Path, Path], tmp_path: Path) -> None:
    server = Server(exported[1], tmp_path, "serving.workers=2", wait=False)
    first = psutil.Process(server.process.pid)
    until(lambda: any("--multiprocessing-fork" in each.cmdline() for each in first.children()))
    family = first.children(recursive=True)
    first.kill()
    server.process.wait()
    assert psutil.wait_procs(family, timeout=20)[1] == []


@pytest.mark.slow
def test_a_server_that_is_told_to_stop_while_it_starts_stops(exported: tuple[Path, Path], tmp_path: Path) -> None:
    server = Server(exported[1], tmp_path, wait=False)
    first = psutil.Process(server.process.pid)
    until(lambda: any("--multiprocessing-fork" in each.cmdline() for each in first.children()))
    assert server.end() == 0
    assert "Forcibly" not in server.log.read_text()


def test_a_worker_that_hangs_unasked_makes_the_server_unready_and_is_replaced(
    exported: tuple[Path, Path], tmp_path: Path, record: dict[str, Any]
) -> None:
    settings = ("serving.timeout=1", "serving.worker_timeout=4", "serving.max_wait=0.1")
    with Server(exported[1], tmp_path, *settings) as server:
        worker = server.worker()
        worker.suspend()
        until(lambda: not server.ready())
        assert worker.is_running()
        until(server.ready)
        assert not worker.is_running()
        assert server.predict(record).status == 200
        assert failures(server) == 1


@pytest.mark.slow
def test_a_worker_that_cannot_start_is_counted_and_ends_the_server(bundle: Path, tmp_path: Path) -> None:
    with Server(bundle, tmp_path, "serving.worker_starts=3") as server:
        family = psutil.Process(server.process.pid).children(recursive=True)
        version = replace(bundle)
        counted: set[float] = set()

        def has_ended() -> bool:
            with suppress(OSError):
                counted.add(failures(server))
            return server.process.poll() is not None

        server.worker().kill()
        until(has_ended, 60)
        assert server.process.returncode == 1
        assert {1, 2, 3} <= counted  # a death and the first of the starts that fail
        log = server.log.read_text()
        assert f"was replaced: it is version {version}" in log
        assert "could not start" in log.splitlines()[-1]
        assert psutil.wait_procs(family, timeout=10)[1] == []


def test_a_reload_takes_up_the_bundle_and_the_keys_and_loses_no_request(
    bundle: Path, tmp_path: Path, keys: Path, record: dict[str, Any]
) -> None:
    with Server(bundle, tmp_path, f"serving.api_key_file={keys}") as server:
        seen: list[tuple[int, str]] = []
        over = threading.Event()

        def ask() -> None:
            while not over.is_set():
                answer = server.predict(record)
                seen.append((answer.status, answer.said.get("bundle_version", "")))

        clients = [threading.Thread(target=ask) for _ in range(4)]
        for client in clients:
            client.start()
        until(lambda: len(seen) > 50)
        before, new_key, counted = seen[0][1], "n" * 32, scored(server)
        assert counted > 50
        after = replace(bundle)
        keys.write_text(f"ops:score,metrics:{KEY}\n{new_key}\n")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: seen[-1][1] == after)
        counts = [counted, *(scored(server) for _ in range(20))]
        assert counts == sorted(counts)
        until(lambda: f"the bundle {after} is in service in place of {before}" in server.log.read_text())
        over.set()
        for client in clients:
            client.join()
        assert {status for status, _ in seen} == {200}
        assert {version for _, version in seen} == {before, after}
        assert server.predict(record, key=new_key).status == 200
        assert scored(server) == len(seen) + 1  # of both, and none lost
        server.process.send_signal(signal.SIGHUP)
        until(lambda: server.log.read_text().count("is in service in place of") == 2)
        assert server.predict(record).status == 200
        assert scored(server) == len(seen) + 2
        assert server.end() == 0


@pytest.mark.slow
def test_what_cannot_be_reloaded_is_told_and_the_old_stays(
    bundle: Path, tmp_path: Path, record: dict[str, Any]
) -> None:
    with Server(bundle, tmp_path) as server:
        (bundle / "model.onnx").write_bytes(b"broken")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: "nothing is reloaded" in server.log.read_text())
        assert server.predict(record).status == 200
        assert server.ready()
