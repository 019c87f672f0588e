"""From the journal to Parquet: files by the hour, whatever crashes on the way, for as long as they are to be kept."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraudlab.errors import UserError
from fraudlab.monitoring import journal, labels, records
from fraudlab.monitoring.store import Store
from tests.support.storage import emulated_bucket

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FACTS = {"bundle_version": "v1", "instance": "a", "high_threshold": 0.9, "medium_threshold": 0.5, "sample_weight": 1.0}
FACTS |= {"types": {"amount": "number"}}


def line(number: int, at: datetime) -> bytes:
    scored = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    own = [f"r{number}", 0, str(number), None, scored, 0.1, 0.2, "low", None, None]
    return json.dumps(own).encode() + f"\t[{number}.5]\n".encode()


def segment(folder: Path, name: str, rows: dict[int, datetime]) -> Path:
    path = folder / "_journal" / "a" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(json.dumps(FACTS).encode() + b"\n" + b"".join(line(*row) for row in rows.items()))
    return path


def numbers(folder: Path) -> list[int]:
    return sorted(int(number) for number in records.scan(folder).collect()["transaction_id"])


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.glob("day=*/*"))


def test_an_hour_is_one_file_whenever_its_rows_come(tmp_path: Path) -> None:
    store = Store(tmp_path, 30, 2**40, None)
    minutes = {number: NOON + timedelta(minutes=10 * number) for number in range(9)}  # until 13:20
    segment(tmp_path, "1", minutes)
    store.tend(NOON + timedelta(minutes=80))
    assert files(tmp_path) == ["day=2026-03-01/a_12.parquet"]
    assert numbers(tmp_path) == list(range(9))  # those of this hour are not in a file of a day yet
    segment(tmp_path, "2", {9: NOON + timedelta(minutes=1), 10: NOON + timedelta(hours=13)})  # late, and a wrong clock
    store.tend(NOON + timedelta(minutes=81))
    assert files(tmp_path) == ["day=2026-03-01/a_12.parquet", "day=2026-03-02/a_01.parquet"]
    store.tend(NOON + timedelta(minutes=82), whole=True)
    assert len(files(tmp_path)) == 3
    assert numbers(tmp_path) == list(range(11))
    assert pl.read_parquet(tmp_path / "day=2026-03-01" / "a_12.parquet").height == 7
    assert not [*tmp_path.glob("_journal/a/*.jsonl"), *tmp_path.glob("_journal/a/*.parquet")]


@pytest.mark.parametrize("broken", [(b'"r700"', b'r700"'), (b"\t[700.5]", b"\t[700.51")])
def test_a_broken_line_among_many_costs_itself_alone(broken: tuple[bytes, bytes], tmp_path: Path) -> None:
    path = segment(tmp_path, "1", dict.fromkeys(range(1300), NOON))
    content = path.read_bytes().replace(*broken)
    assert content != path.read_bytes()
    path.write_bytes(content)
    others = [number for number in range(1300) if number != 700]
    assert numbers(tmp_path) == others
    Store(tmp_path, 30, 2**40, None).tend(NOON, whole=True)
    assert (numbers(tmp_path), files(tmp_path)) == (others, ["day=2026-03-01/a_12.parquet"])
    assert path.with_suffix(".broken").exists()


def test_files_that_a_server_replaces_while_they_are_read_are_read_again(tmp_path: Path) -> None:
    store, now = Store(tmp_path, 30, 2**40, None), NOON + timedelta(minutes=5)
    segment(tmp_path, "1", dict.fromkeys(range(3), NOON))
    store.tend(now)  # a part
    turns = 0

    def read(most: int) -> list[str]:
        nonlocal turns, now
        turns += 1
        rows = records.scan(tmp_path)
        if turns <= most:  # a late row, and the hour's file of all
            segment(tmp_path, "2", {2 + turns: NOON})
            now += timedelta(hours=2)
            store.tend(now)
        return sorted(rows.collect()["transaction_id"])

    assert records.settled(tmp_path, lambda: read(2)) == ["0", "1", "2", "3", "4"]
    assert turns == 3
    with pytest.raises(UserError, match="replaced 4 times"):
        records.settled(tmp_path, lambda: read(99))
    with pytest.raises(FileNotFoundError):  # of something else
        records.settled(tmp_path, (tmp_path / "nowhere").read_bytes)


def test_rows_that_a_crash_left_in_two_places_come_into_the_file_once(tmp_path: Path) -> None:
    store = Store(tmp_path, 30, 2**40, None)
    rows = dict.fromkeys(range(3), NOON)
    for _ in range(2):  # a crash after the file was made and before the journal's was deleted
        segment(tmp_path, "1", rows)
        store.tend(NOON, whole=True)
    assert pl.read_parquet(tmp_path / "day=2026-03-01" / "a_12.parquet").height == 3


def test_what_is_too_old_or_too_much_is_deleted_the_oldest_first(tmp_path: Path) -> None:
    for day in range(40):
        segment(tmp_path, str(day), {day: NOON + timedelta(days=day)})
    label = labels.Label(1, None, None, True, "bank", None)
    for day in (0, 39):
        labels.append(tmp_path, [label], "a", NOON + timedelta(days=day))
    now = NOON + timedelta(days=39, hours=1)
    Store(tmp_path, 30, 2**40, None).tend(now, whole=True)
    assert numbers(tmp_path) == list(range(9, 40))
    assert labels.told(tmp_path)["told_at"].to_list() == [NOON + timedelta(days=39)]
    size = max(path.stat().st_size for path in tmp_path.glob("day=*/*"))
    Store(tmp_path, 30, 5 * size, None).tend(now)
    assert numbers(tmp_path) == list(range(35, 40))


def test_of_several_servers_the_oldest_hours_go_first(tmp_path: Path) -> None:
    for number, (instance, hour) in enumerate([("z", 12), ("a", 13), ("z", 14), ("a", 15)]):
        path = segment(tmp_path, str(number), {number: NOON + timedelta(hours=hour - 12)})
        (tmp_path / "_journal" / instance).mkdir(exist_ok=True)
        path.rename(tmp_path / "_journal" / instance / path.name)
    (tmp_path / "day=2026-03-01").mkdir()
    (tmp_path / "day=2026-03-01" / "y_13.parquet").symlink_to(tmp_path / "gone")  # as one that another server deletes
    now = NOON + timedelta(hours=5)
    Store(tmp_path, 30, 2**40, None).tend(now, whole=True)
    size = max(path.stat().st_size for path in tmp_path.glob("day=*/[az]*"))
    Store(tmp_path, 30, 2 * size, None).tend(now)
    (tmp_path / "day=2026-03-01" / "y_13.parquet").unlink()
    assert numbers(tmp_path) == [2, 3]


def test_what_is_no_part_of_the_record_does_not_stop_it(tmp_path: Path) -> None:
    path = segment(tmp_path, "2", {2: NOON})
    unreadable = line(1, NOON).replace(b'"1", null', b'"1", 5')  # a time that is no text
    (path.parent / "1.jsonl").write_bytes(json.dumps(FACTS).encode() + b"\n" + unreadable)
    (path.parent / "0.jsonl").write_text("[]\n")
    (path.parent / "copy.parquet").touch()
    (tmp_path / "day=2026-01-01.bak").mkdir()
    (tmp_path / "_labels").mkdir()
    (tmp_path / "_labels" / "old.jsonl").touch()
    assert numbers(tmp_path) == [2]
    Store(tmp_path, 30, 2**40, None).tend(NOON, whole=True)
    assert (files(tmp_path), numbers(tmp_path)) == (["day=2026-03-01/a_12.parquet"], [2])
    assert sorted(path.name for path in path.parent.glob("*.broken")) == ["0.broken", "1.broken"]
    assert (tmp_path / "_labels" / "old.jsonl").exists()


def test_a_file_of_the_journal_is_not_taken_before_it_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, lock = Store(tmp_path, 30, 2**40, None), fcntl.flock

    def tend_first(descriptor: int, how: int) -> None:
        monkeypatch.undo()
        store.tend(NOON)
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", tend_first)
    made = journal.Journal(tmp_path / "_journal" / "a", FACTS, 2**30)
    made.put(1, line(1, NOON))
    made.close(10)
    assert (made.written, made.lost, numbers(tmp_path)) == (1, 0, [1])
    assert not list(tmp_path.glob("_journal/a/*.broken"))


def test_a_file_that_is_being_written_is_left_and_a_killed_writer_s_is_taken(tmp_path: Path) -> None:
    program = f"""
import sys, time
from pathlib import Path
from fraudlab.monitoring.journal import Journal
made = Journal(Path({str(tmp_path / "_journal" / "a")!r}), {FACTS!r}, 2**30)
made.put(2, {line(1, NOON) + line(2, NOON)!r})
while not made.written:
    time.sleep(0.01)
print("written", flush=True)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    store = Store(tmp_path, 30, 2**40, None)
    store.tend(NOON, whole=True)
    assert files(tmp_path) == []
    assert numbers(tmp_path) == [1, 2]
    process.send_signal(signal.SIGKILL)
    process.wait()
    store.tend(NOON, whole=True)
    assert len(files(tmp_path)) == 1
    assert numbers(tmp_path) == [1, 2]


def test_the_journal_counts_what_it_cannot_write(tmp_path: Path) -> None:
    made = journal.Journal(tmp_path / "a", FACTS, 0)  # Parquet is made of no byte
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.jsonl").write_bytes(b"x" * 100)
    assert made.backlog == 100
    made.put(3, b"[]\n" * 3)
    made.close(10)
    assert (made.written, made.lost) == (0, 3)
    full = journal.Journal(tmp_path / "b", FACTS, 2**30)
    full.put(5, b"[]" * 2**25)  # more than may wait
    full.put(1, line(1, NOON))
    full.close(10)
    assert (full.written, full.lost) == (1, 5)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with emulated_bucket("records", monkeypatch) as bucket:
        yield bucket


def test_files_are_copied_to_the_cloud_as_they_change(tmp_path: Path, bucket: Any) -> None:
    store = Store(tmp_path / "here", 30, 2**40, "gs://records/fraud")
    segment(tmp_path / "here", "1", {1: NOON})
    labels.append(tmp_path / "here", [labels.Label(1, None, None, True, "bank", None)], "a", NOON)
    store.tend(NOON)
    segment(tmp_path / "here", "2", {2: NOON})
    store.tend(NOON + timedelta(minutes=1))  # no upload is due
    store.tend(NOON + timedelta(minutes=2), whole=True)
    for blob in bucket.list_blobs():
        path = tmp_path / "there" / blob.name.removeprefix("fraud/")
        path.parent.mkdir(parents=True, exist_ok=True)
        blob.download_to_filename(os.fspath(path))
    assert numbers(tmp_path / "there") == [1, 2]
    assert labels.told(tmp_path / "there").height == 1
