"""Persons are taken out of a record whole: of rows and of what a crash left, and nobody else is."""

import fcntl
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraudlab.errors import UserError
from fraudlab.monitoring import labels, records
from fraudlab.monitoring.erasure import erase
from fraudlab.monitoring.store import Store
from tests.monitoring.test_commands import KEY, ROLES, START, hashed, line, recorded
from tests.support.server import until


def with_keys(number: int, card: str, shop: str = "none") -> list[Any]:
    made = line(number, 1.0)
    made[-1][2], made[-1][4] = hashed(card), hashed(shop)
    return made


LONG = 1234567890123456789  # floats hold 1234567890123456768


@pytest.mark.parametrize(
    ("types", "asked", "gone"),
    [
        ({"card": ["integer"], "shop": ["string"]}, "0012", {0, 3}),
        ({"card": ["integer"], "shop": ["string"]}, "12.0", {0}),
        ({"card": ["integer", "number"], "shop": ["string"]}, "12", {0, 4, 5}),
        ({"card": ["integer"], "shop": ["string"]}, str(LONG), {1}),
        (None, "0012", {3}),
        (None, "12", {0, 4, 5}),
        (None, str(LONG), {1}),
    ],
)
def test_a_key_in_the_clear_is_read_as_its_field_was(
    tmp_path: Path, types: dict[str, list[str]] | None, asked: str, gone: set[int]
) -> None:
    rows = [("12",), (str(LONG),), (str(LONG - 21),), ("other", "0012"), ("other", "12"), ("12.0",)]
    lines = [with_keys(number, *keys) for number, keys in enumerate(rows)]
    record = recorded(tmp_path / "record", lines, {"roles": ROLES} | ({} if types is None else {"types": types}))
    assert erase(record, ["nobody", asked], KEY.encode()).rows == len(gone)
    left = records.scan(record).collect()["transaction_id"]
    assert {int(number) for number in left} == set(range(len(rows))) - gone


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Path, int, int]]:
    """A record with two files of the journal, the latter still written to, and a label whose file somebody holds."""
    record = recorded(tmp_path / "record", [with_keys(1, "card")])
    open_file = record / "_journal" / "a" / "2.jsonl"
    head = (record / "_journal" / "a" / "1.jsonl").read_bytes().partition(b"\n")[0]
    open_file.write_bytes(head + b"\n" + json.dumps(with_keys(2, "card")).encode() + b"\n")
    labels.append(record, [labels.Label(1, None, None, True, "bank", None)], "a", START)
    files = [os.open(path, os.O_RDWR) for path in (open_file, *labels.files(record))]
    for file in files:
        fcntl.flock(file, fcntl.LOCK_EX)
    yield record, files[0], files[1]
    for file in files:
        os.close(file)


def test_rows_that_become_parquet_meanwhile_are_not_missed(held: tuple[Path, int, int]) -> None:
    record, journal, label = held
    with ThreadPoolExecutor(1) as pool:
        erasing = pool.submit(erase, record, ["card"], KEY.encode())
        until(lambda: any(pl.read_parquet(path).is_empty() for path in record.glob("day=*/*.parquet")))
        fcntl.flock(journal, fcntl.LOCK_UN)  # the server begins another file, and makes Parquet of this one
        for _ in range(20):
            Store(record, 180, 2**40, None).tend(START + timedelta(hours=1), whole=True)
        fcntl.flock(label, fcntl.LOCK_UN)
        with pytest.raises(UserError, match="run this again"):
            erasing.result()
    assert erase(record, ["card"], KEY.encode()).rows == 1
    assert records.scan(record).collect().is_empty()


def test_what_a_crash_left_goes_with_an_erasure_and_with_age(tmp_path: Path) -> None:
    record = recorded(tmp_path / "record", [with_keys(1, "other")])
    instance, store = record / "_journal" / "a", Store(record, 180, 2**40, None)
    head = (instance / "1.jsonl").read_bytes().partition(b"\n")[0]
    row = json.dumps(with_keys(2, "card")).encode()
    labels.append(record, [labels.Label(1, None, None, True, "bank", None)], "a", START)

    def leave() -> list[Path]:
        (instance / "2.jsonl").write_bytes(head + b"\n" + row + b"\n[broken\n")
        (instance / "3.jsonl").write_bytes(b"{broken\n" + row)
        store.tend(START + timedelta(hours=1), whole=True)
        partial = [
            place / ".x.0123abcd.partial" for place in (next(record.glob("day=*")), record / "_labels", instance)
        ]
        for path in partial:
            path.write_bytes(row)
        return [*partial, instance / "2.broken", instance / "3.broken"]

    left = leave()
    assert all(path.exists() for path in left)
    erased = erase(record, ["card"], KEY.encode())
    assert (erased.rows, erased.leftovers) == (1, 5)
    content = b"".join(path.read_bytes() for path in record.rglob("*") if path.is_file())
    assert (hashed("card").encode() in content, hashed("other").encode() in content) == (False, True)
    left, now = leave(), datetime.now(UTC)
    for path, days in zip(left, (200, 200, 200, 200, 10), strict=True):
        moment = (now - timedelta(days=days)).timestamp()
        os.utime(path, (moment, moment))
    store.tend(now)
    assert [path.exists() for path in left] == [False] * 4 + [True]
