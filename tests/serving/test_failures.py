"""What breaks under a running server, one thing after the other: its disk, its processes."""

import json
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pytest

from fraudlab import bundle as bundles
from tests.support.server import Server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("failures")


@pytest.fixture(scope="module")
def records(exported: tuple[Path, Path]) -> list[dict[str, Any]]:
    return [row["record"] for row in bundles.load(exported[1]).golden()[:50]]


@pytest.fixture(scope="module")
def server(exported: tuple[Path, Path], folder: Path) -> Iterator[Server]:
    bundle = shutil.copytree(exported[1], folder / "bundle")
    with Server(bundle, folder, f"serving.record_to={folder}/record", "serving.record_rows=50") as started:
        yield started


def _until(happened: Callable[[], Any]) -> None:
    until = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.05)


def _unrecorded(server: Server) -> int:
    lines = server.ask("/metrics").text.splitlines()
    return int(float(next(line for line in lines if line.startswith("fraudlab_unrecorded_total")).split()[-1]))


def test_a_record_that_cannot_be_written_is_counted_and_the_next_one_is_written(
    server: Server, folder: Path, records: list[dict[str, Any]]
) -> None:
    (folder / "record").rmdir()
    (folder / "record").write_text("where the folder should be")
    assert server.predict(records).status == 200
    _until(lambda: _unrecorded(server) == len(records))
    assert f"{len(records)} records are lost" in server.log.read_text()
    (folder / "record").unlink()
    assert server.predict(records, headers={"X-Request-ID": "second"}).status == 200
    _until(lambda: list((folder / "record").glob("*.parquet")))
    assert set(pl.read_parquet(folder / "record" / "*.parquet")["request_id"]) == {"second"}
    assert _unrecorded(server) == len(records)


def test_a_dead_writer_is_counted_and_holds_up_no_end(
    exported: tuple[Path, Path], tmp_path: Path, records: list[dict[str, Any]]
) -> None:
    with Server(exported[1], tmp_path, "serving.record_to=record") as server:
        scores = server.worker().pid
        family = psutil.Process(server.process.pid).children(recursive=True)
        (writer,) = (each for each in family if "--multiprocessing-fork" in each.cmdline() and each.pid != scores)
        writer.suspend()
        for _ in range(4):
            assert server.predict(records).status == 200
        assert 4 * len(json.dumps(records)) > 100_000  # more than a pipe holds: some of it stays with the sender
        assert _unrecorded(server) == 0
        writer.kill()
        _until(lambda: server.predict(records).status == 200 and _unrecorded(server) > 0)
        assert server.end() == 0
        assert "Forcibly killing" not in server.log.read_text()


def test_the_server_ends_where_the_process_that_answers_dies(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        ends = {client.getsockname()[1]}
        children = psutil.Process(server.process.pid).children()
        (answers,) = (
            each
            for each in children
            if any(line.raddr and line.raddr.port in ends for line in each.net_connections("tcp"))
        )
        answers.kill()
        assert server.process.wait(20) == 1
    assert "the process that answers HTTP died" in server.log.read_text().splitlines()[-1]
    assert psutil.wait_procs(children, timeout=20)[1] == []
