"""What is made of a record from the command line: a summary, a training table, and an erasure that leaves nothing."""

import hmac
import json
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from fraudlab.errors import UserError
from fraudlab.monitoring import labels, records
from fraudlab.monitoring.store import Store
from fraudlab.monitoring.training import write_table
from tests.conftest import Command

START = datetime(2026, 3, 1, tzinfo=UTC)
KEY = "h" * 32
TYPES = {"tx": "integer", "when": "datetime", "card": "string", "amount": "number", "shop": "string", "label": "number"}
ROLES = dict(zip(TYPES, ("id", "time", "card", "amount", "categorical", "numeric"), strict=True))
FACTS = {"bundle_version": "v1", "instance": "a", "high_threshold": 0.9, "medium_threshold": 0.5, "sample_weight": 2.0}


def hashed(text: str) -> str:
    return hmac.new(KEY.encode(), text.encode(), "sha256").hexdigest()


def line(number: int, amount: float) -> list[Any]:
    at = START + timedelta(hours=3 * number)
    scored = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    inputs = [number, at.isoformat(), hashed(f"card {number % 20}"), amount, f"shop {number % 3}", amount / 2]
    return [f"r{number}", 0, str(number), at.isoformat(), scored, 0.1, 0.2, "low", None, "accept", inputs]


def recorded(folder: Path, lines: list[list[Any]], contract: dict[str, Any] | None = None) -> Path:
    (folder / "_journal" / "a").mkdir(parents=True)
    rows = [{**FACTS, "types": TYPES}, *lines]
    (folder / "_journal" / "a" / "1.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "_contract.json").write_text(json.dumps(contract or {"roles": ROLES}))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """600 transactions, one in three hours; the large amounts are fraud, told ten days later, but for one in ten."""
    amounts = np.random.default_rng(0).lognormal(3, 1, 600)
    made = recorded(tmp_path / "record", [line(number, amount) for number, amount in enumerate(amounts)])
    Store(made, 10**4, 2**40, None).tend(START + timedelta(days=90))
    for number in np.flatnonzero(amounts > 60).tolist():
        if number % 10:
            told = START + timedelta(hours=3 * number, days=10)
            labels.append(made, [labels.Label(number, None, None, True, "bank", None)], "a", told)
    return made


def test_a_training_table_trains_as_it_is(folder: Path, command: Command, tmp_path: Path) -> None:
    moment = START + timedelta(days=60)
    made = command("labels", f"records={folder}", f"out={tmp_path}/out", f"as_of={moment:%Y-%m-%d}", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    rows = pl.read_parquet(tmp_path / "out" / "training.parquet").sort("tx")
    assert rows.columns == [*TYPES, "label_", "label_time", "label_source", "decision", "propensity"]
    have = records.scan(folder).collect()
    amount = have["input"].struct.field("amount").to_numpy()
    number = have["transaction_id"].cast(pl.Int64).to_numpy()
    told = (amount > 60) & (number % 10 != 0) & (number / 8 + 10 <= 60)
    over = (number / 8 + 7 <= 60) & (number < 480)
    assert set(rows["tx"]) == set(number[over].tolist())
    assert set(rows.filter(pl.col("label_") == 1)["tx"]) == set(number[told & over].tolist())
    one = rows.filter(pl.col("label_") == 1).row(0, named=True)
    assert one["label_time"] == one["when"] + timedelta(days=10)
    assert (one["decision"], one["propensity"], one["label_source"]) == ("accept", 0.5, "bank")
    quiet = rows.filter(pl.col("label_source").is_null()).row(0, named=True)
    assert (quiet["label_"], quiet["label_time"]) == (0, quiet["when"] + timedelta(days=7))
    assert f"immature   {480 - len(rows):,} left out" in made.stdout
    use = shlex.split(made.stdout.partition("use        ")[2])
    assert use[:3] == ["python", "-m", "fraudlab.train"]
    quick = ("model=logistic_regression", "report=false", "logger=none", f"hydra.run.dir={tmp_path}/run")
    done = command("train", *use[3:], *quick, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["test"]["average_precision"] > 0.3
    again = command("labels", f"records={folder}", f"out={tmp_path}/out", cwd=tmp_path)
    assert (again.returncode, "exists; choose another folder" in again.stderr) == (1, True)


def test_a_training_table_ends_where_genuine_rows_do_and_knows_when_a_label_went(tmp_path: Path) -> None:
    """Eight transactions a day, labels by the day on which they are told, a table made on day 10, 7 days of delay."""
    record = recorded(tmp_path / "record", [line(number, 1.0) for number in range(80)])
    told = [(1, 3, True), (1, 9, None), (2, 1, True), (2, 2, None), (3, 4, True), (24, 4, True)]
    told += [(25, 4, True), (40, 6, True), (41, 6, True), (41, 8, None)]  # too young, as those of which nothing is told
    for number, day, fraud in told:
        label = labels.Label(number, None, None, fraud, "bank", None)
        labels.append(record, [label], "a", START + timedelta(days=day))
    with pytest.raises(UserError, match=r"no transaction that was 7 days old .*, 8 younger ones; give a later as_of"):
        write_table(record, tmp_path / "out", START + timedelta(days=1))
    made = write_table(record, tmp_path / "out", START + timedelta(days=10))
    rows = pl.read_parquet(made.table).sort("tx")
    assert rows["tx"].to_list() == list(range(25))
    assert rows.filter(pl.col("label_") == 1)["tx"].to_list() == [3, 24]
    assert (made.rows, made.frauds, made.assumed, made.immature) == (25, 2, 23, 55)
    days = {number: day for number, day, _ in told} | {n: n / 8 + 7 for n in range(25) if n not in (1, 3, 24)}
    want = [(START + timedelta(days=days[number])).replace(tzinfo=None) for number in range(25)]
    assert rows["label_time"].to_list() == want
    assert rows["label_source"].drop_nulls().to_list() == ["bank"] * 2


def test_persons_are_erased_from_rows_labels_and_history(folder: Path, command: Command, tmp_path: Path) -> None:
    past = {"TRANSACTION_ID": [3, 902, 903], "TX_DATETIME": [datetime(2026, 1, day) for day in (1, 2, 3)]}
    past |= {"CUSTOMER_ID": [7, 8, 9], "TERMINAL_ID": [1, 1, 1], "TX_AMOUNT": [1.0, 2.0, 3.0]}
    pl.DataFrame(past).write_parquet(tmp_path / "past.parquet")
    store = tmp_path / "h.sqlite"
    assert command("history", f"transactions={tmp_path}/past.parquet", f"out={store}").returncode == 0
    labels.append(folder, [labels.Label(None, "r3", 0, True, "analyst", None)], "a", START)
    before = records.scan(folder).collect()
    told = labels.told(folder).height
    for path in folder.rglob("*.*"):
        path.chmod(0o600 if path.is_file() else 0o700)
    (tmp_path / "ids").write_text(f"3\ncard 5\n{hashed('card 6')}\n9\n\n")
    arguments = ("records", f"folder={folder}", f"erase={tmp_path}/ids", f"history={store}")
    done = command(*arguments, cwd=tmp_path, env={"FRAUDLAB_HASH_KEY": KEY})
    assert done.returncode == 0, done.stderr
    gone = {number for number in range(600) if number in (3, 9) or number % 20 in (5, 6)}
    after = records.scan(folder).collect()
    assert set(after["transaction_id"].cast(pl.Int64)) == set(range(600)) - gone
    assert f"rows       {len(gone)} erased" in done.stdout
    assert "history    2 transactions erased" in done.stdout  # 3, and what the customer 9 paid
    left = labels.told(folder)
    assert not {str(number) for number in gone} & set(left["transaction_id"])
    assert f"labels     {told - left.height} erased" in done.stdout
    content = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*.parquet")} == {0o600}
    assert hashed("card 5").encode() not in content
    assert hashed("card 7").encode() in content
    assert before.height - after.height == len(gone)
    once_more = command(*arguments, cwd=tmp_path, env={"FRAUDLAB_HASH_KEY": KEY})
    assert "rows       0 erased" in once_more.stdout


def test_the_summary_counts_days_bundles_and_labels(folder: Path, command: Command, tmp_path: Path) -> None:
    rows = pl.DataFrame({"id": ["1", "1", "700"], "fraud": [1, 0, 1], "event_time": ["2026-03-05", "2026-03-05", None]})
    rows = pl.concat([rows, pl.DataFrame({"id": ["2"], "fraud": [1], "event_time": ["2999-01-01"]})])
    rows.write_csv(tmp_path / "labels.csv")
    before = labels.told(folder).height
    told = command("labels", f"file={tmp_path}/labels.csv", f"to={folder}", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    done = command("records", f"folder={folder}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    days = {words[0]: int(words[1]) for words in lines if words[0].startswith("2026-")}
    assert (len(days), sum(days.values()), days["2026-03-01"]) == (75, 600, 8)
    for said in (told.stdout, done.stdout):
        assert f"{before + 4:,} told" in said
        assert "1 of transactions that the record lacks" in said
        assert "1 contradicted" in said
        assert "1 in the future" in said
    refused = command("labels", f"file={tmp_path}/labels.csv", f"to={folder}", f"out={tmp_path}/x", cwd=tmp_path)
    assert (refused.returncode, "give file=<labels> to=" in refused.stderr) == (1, True)
