"""A server that is killed at any moment: at most the rows of the last second are lost, and no file is broken."""

import random
import signal
import threading
import time
from pathlib import Path

import polars as pl
import psutil
import pytest

from fraudlab import bundle as bundles
from fraudlab.monitoring import records
from tests.support.server import Server, until

KILLS = 20


@pytest.mark.slow
def test_a_kill_at_any_moment_costs_a_second_at_most(exported: tuple[Path, Path], tmp_path: Path) -> None:
    record = bundles.load(exported[1]).golden()[0]["record"]
    folder, draw = tmp_path / "record", random.Random(0)
    number = total = 0
    for _ in range(KILLS):
        answered: dict[int, float] = {}
        server = Server(exported[1], tmp_path, f"serving.record_to={folder}")
        over = threading.Event()

        def ask(
            server: Server = server,
            over: threading.Event = over,
            first: int = number,
            answered: dict[int, float] = answered,
        ) -> None:
            for each in range(first, first + 10**6):
                if over.is_set():
                    return
                try:
                    status = server.predict({**record, "TransactionID": each}).status
                except OSError:
                    return
                if status == 200:
                    answered[each] = time.monotonic()

        client = threading.Thread(target=ask)
        client.start()
        time.sleep(draw.uniform(1.0, 4.0))
        family = psutil.Process(server.process.pid).children(recursive=True)
        number_of_signal = draw.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
        server.process.send_signal(number_of_signal)
        killed = time.monotonic()
        server.process.wait(20)
        assert psutil.wait_procs(family, timeout=20)[1] == []
        over.set()
        client.join()
        number, total = number + 10**6, total + len(answered)
        written = set(records.scan(folder).collect()["transaction_id"].cast(pl.Int64))
        due = {each for each, at in answered.items() if at < killed - 1.0 or number_of_signal == signal.SIGTERM}
        assert due <= written, f"{number_of_signal}: {len(due - written)} of {len(due)} rows are lost"
    with Server(exported[1], tmp_path, f"serving.record_to={folder}"):
        until(lambda: not list(folder.glob("_journal/*/*.jsonl")))
    assert not list(folder.glob("_journal/*/*.broken"))
    rows = pl.read_parquet(folder / "day=*" / "*.parquet")
    assert rows["transaction_id"].n_unique() == rows.height
    assert total > 10 * KILLS
