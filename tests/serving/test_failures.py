"""What breaks under a running server, one thing after the other: its disk, its processes."""

import json
import resource
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from fraudlab import bundle as bundles
from fraudlab.monitoring import labels, records
from tests.support.server import Server, until


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("failures")


@pytest.fixture(scope="module")
def sent(exported: tuple[Path, Path]) -> list[dict[str, Any]]:
    return [row["record"] for row in bundles.load(exported[1]).golden()[:50]]


@pytest.fixture(scope="module")
def server(exported: tuple[Path, Path], folder: Path) -> Iterator[Server]:
    bundle = shutil.copytree(exported[1], folder / "bundle")
    with Server(bundle, folder, f"serving.record_to={folder}/record") as started:
        yield started


def _unrecorded(server: Server) -> int:
    lines = server.ask("/metrics").text.splitlines()
    return int(float(next(line for line in lines if line.startswith("fraudlab_unrecorded_total")).split()[-1]))


def test_rows_that_cannot_be_written_are_counted_and_the_next_ones_are_written(
    server: Server, folder: Path, sent: list[dict[str, Any]]
) -> None:
    shutil.rmtree(folder / "record")
    (folder / "record").write_text("where the folder should be")
    assert server.predict(sent).status == 200
    until(lambda: _unrecorded(server) == len(sent))
    assert f"{len(sent)} records are lost" in server.log.read_text()
    (folder / "record").unlink()
    assert server.predict(sent, headers={"X-Request-ID": "second"}).status == 200
    until(lambda: (folder / "record").is_dir() and len(records.scan(folder / "record").collect()) == len(sent))
    assert set(records.scan(folder / "record").collect()["request_id"]) == {"second"}
    assert _unrecorded(server) == len(sent)


def test_a_full_disk_holds_up_no_answer_and_its_loss_is_counted(
    exported: tuple[Path, Path], tmp_path: Path, sent: list[dict[str, Any]]
) -> None:
    with Server(exported[1], tmp_path, "serving.record_to=record") as server:
        assert server.predict(sent).status == 200
        until(lambda: "fraudlab_recorded_total 50.0" in server.ask("/metrics").text)
        (journal,) = tmp_path.glob("record/_journal/*/*.jsonl")
        answers = _process_with(server, journal)
        room = journal.stat().st_size + 10_000  # the next request fits in part
        for process in (answers, _writer(server)):
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
        assert server.predict(sent).status == 200
        until(lambda: _unrecorded(server) == len(sent))
        assert len(records.scan(tmp_path / "record").collect()) == len(sent)
        label = json.dumps({"id": 1, "fraud": True}).encode()
        assert server.ask("/labels", label).status == 200  # the label fits
        resource.prlimit(answers.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        refused = server.ask("/labels", label)
        assert (refused.status, "send them again" in refused.said["error"]) == (503, True)
        for process in (answers, _writer(server)):
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        more = [{**record, "TransactionID": 10**6 + number} for number, record in enumerate(sent)]
        assert server.predict(more).status == 200
        assert server.end() == 0
    assert len(records.scan(tmp_path / "record").collect()) == 2 * len(sent)
    assert len(labels.told(tmp_path / "record")) == 1


def test_a_dead_writer_is_replaced_and_loses_nothing(
    exported: tuple[Path, Path], tmp_path: Path, sent: list[dict[str, Any]]
) -> None:
    with Server(exported[1], tmp_path, "serving.record_to=record") as server:
        writer = _writer(server)
        writer.suspend()
        assert server.predict(sent).status == 200
        writer.kill()
        until(lambda: "it is started again" in server.log.read_text())
        assert _writer(server).pid != writer.pid
        assert _unrecorded(server) == 0
        assert server.end() == 0
        assert "Forcibly killing" not in server.log.read_text()
    assert len(list(tmp_path.glob("record/day=*/*.parquet"))) == 1
    assert len(records.scan(tmp_path / "record").collect()) == len(sent)


def _writer(server: Server) -> psutil.Process:
    scores = server.worker().pid
    family = psutil.Process(server.process.pid).children(recursive=True)
    (writer,) = (
        each
        for each in family
        if each.pid != scores and each.status() != psutil.STATUS_ZOMBIE and "--multiprocessing-fork" in each.cmdline()
    )
    return writer


def _process_with(server: Server, path: Path) -> psutil.Process:
    family = psutil.Process(server.process.pid).children(recursive=True)
    (found,) = (each for each in family if any(file.path == str(path) for file in each.open_files()))
    return found


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
