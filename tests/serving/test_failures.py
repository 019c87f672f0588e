"""What breaks under a running server, one thing after the other: its disk, its processes."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pytest

from fraudlab import bundle as bundles
from tests.serving.server import Server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("failures")


@pytest.fixture(scope="module")
def records(exported: tuple[Path, Path]) -> list[dict[str, Any]]:
    return [row["record"] for row in bundles.load(exported[1]).golden()[:50]]


@pytest.fixture(scope="module")
def server(exported: tuple[Path, Path], folder: Path) -> Iterator[Server]:
    with Server(exported[1], folder, f"serving.record_to={folder}/record", "serving.record_rows=50") as started:
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
    (folder / "record").write_text("where the folder should be")
    assert server.predict(records).status == 200
    _until(lambda: _unrecorded(server) == len(records))
    assert f"{len(records)} records are lost" in server.log.read_text()
    (folder / "record").unlink()
    assert server.predict(records, headers={"X-Request-ID": "second"}).status == 200
    _until(lambda: list((folder / "record").glob("*.parquet")))
    assert set(pl.read_parquet(folder / "record" / "*.parquet")["request_id"]) == {"second"}
    assert _unrecorded(server) == len(records)


def test_a_dead_writer_is_counted_and_holds_up_no_end(server: Server, records: list[dict[str, Any]]) -> None:
    scores = server.worker().pid
    family = psutil.Process(server.process.pid).children(recursive=True)
    (writer,) = (each for each in family if "--multiprocessing-fork" in each.cmdline() and each.pid != scores)
    before = _unrecorded(server)
    writer.suspend()
    for _ in range(4):  # more than a pipe holds: some of it stays with the sender
        assert server.predict(records).status == 200
    assert len(json.dumps(records)) * 4 > 100_000
    assert _unrecorded(server) == before
    writer.kill()
    _until(lambda: server.predict(records).status == 200 and _unrecorded(server) > before)
    assert server.end() == 0
