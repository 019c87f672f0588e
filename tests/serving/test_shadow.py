"""A challenger that says nonsense, or ends only by force, costs no row of the record and does not hold up the end."""

import asyncio
import os
import signal
import socket
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from fraudlab import bundle as bundles
from fraudlab.config.serve import ServingConfig
from fraudlab.serving.challenger import Challenger
from fraudlab.serving.dispatch import LENGTH
from fraudlab.serving.shadow import Shadow


class Rows:
    """Takes what a journal gets."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def put(self, count: int, lines: bytes) -> None:
        self.lines += lines.splitlines()


SAID: list[tuple[list[Any], int]] = [
    ([[[0.1, 0.1, "low", None]] * 2, [[0.9, 0.9, "high", None]]], 3),
    ([[[0.1, 0.1, "low", None]], [[0.9, 0.9, "high", None]]], 0),  # one row too few
    ([[[0.1, 0.1, "low", None]] * 2], 2),  # no answer to the second
    ([[["x"]] * 2, [[1]]], 0),
]


@pytest.mark.parametrize(("answers", "scored"), SAID)
def test_an_answer_that_is_none_costs_no_row(tmp_path: Path, answers: list[Any], scored: int) -> None:
    rows: Any = Rows()

    async def talk() -> Shadow:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "line"))
            listener.listen()
            shadow = Shadow("v", listener, rows, 60.0)
            server = await shadow.listen()
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "line"))
            writer.write(os.getpid().to_bytes(LENGTH))
            while shadow._line is None:
                await asyncio.sleep(0)
            shadow.offer(b"[{},{}]", b"[1]\t[]\n[2]\t[]\n", ["low", "low"], [{"a": 1.0}, {"a": None}])
            shadow.offer(b"{}", b"[3]\t[7]\n", ["high"])
            head = orjson.loads(await reader.readexactly(int.from_bytes(await reader.readexactly(LENGTH))))
            assert [asked["past"] for asked, _ in head] == [[{"a": 1.0}, {"a": None}], None]
            said = orjson.dumps({"answers": answers, "seconds": 0.1})
            writer.write(len(said).to_bytes(LENGTH) + said)
            while len(rows.lines) < 3:
                await asyncio.sleep(0.001)
            await shadow.close()
            writer.close()
            server.close()
        return shadow

    asyncio.run(asyncio.wait_for(talk(), 20))
    kept = [orjson.loads(line.partition(b"\t")[0]) for line in rows.lines]
    assert [line.partition(b"\t")[2] for line in rows.lines] == [b"[]", b"[]", b"[7]"]
    assert [row[0] for row in kept] == [1, 2, 3]
    assert sum(row[1] is not None for row in kept) == scored


def test_one_that_is_suspended_is_ended(handbook_bundle: Path, tmp_path: Path) -> None:
    settings = ServingConfig(challenger=str(handbook_bundle), record_to="record")
    challenger = Challenger(bundles.load(handbook_bundle), settings, tmp_path / "line")
    challenger.start()
    process = psutil.Process(challenger._process.pid)
    process.send_signal(signal.SIGSTOP)
    challenger.close()
    assert not process.is_running()
