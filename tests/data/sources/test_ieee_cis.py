"""Every cell of the real rows survives; the cache is made once and holds what was read."""

import csv
import os
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fraudlab.data.sources import ieee_cis, ieee_cis_files
from fraudlab.data.sources.ieee_cis_columns import IDENTITY, TRANSACTION
from tests.support.ieee_cis_pair import as_csv, load, put, transactions


@pytest.fixture
def sample(shared_data: Path) -> Path:
    return shared_data / "ieee_cis_sample"


def test_every_cell_that_kaggle_ships_survives(sample: Path, tmp_path: Path) -> None:
    source = load(sample, tmp_path)
    frame = source.frame.collect()
    with (sample / "train_transaction.csv").open(newline="", encoding="utf-8") as file:
        expected = list(csv.DictReader(file))
    with (sample / "train_identity.csv").open(newline="", encoding="utf-8") as file:
        identity = {row["TransactionID"]: row for row in csv.DictReader(file)}
    assert (len(expected), len(identity)) == (1500, 348)
    assert set(expected[0]) == set(TRANSACTION)
    nothing = {name: "" for name in IDENTITY if name != "TransactionID"}

    for row, have in zip(expected, frame.iter_rows(named=True), strict=True):
        want = {**row, **identity.get(row["TransactionID"], nothing)}
        assert have.pop("client") == int(want["card1"]) * 1000 + int(float(want["addr1"] or 0))
        assert have.keys() == want.keys()
        for name, text in want.items():
            value = have[name]
            if text == "":
                assert value is None, name
            elif isinstance(value, str):
                assert value == text, name
            else:
                assert value == float(text), name
    for name in TRANSACTION:
        assert frame[name].null_count() == sum(row[name] == "" for row in expected)
    for column in source.schema.columns:
        assert column.nullable or not frame[column.name].null_count()
    assert frame["isFraud"].sum() == sum(row["isFraud"] == "1" for row in expected)


@pytest.mark.parametrize(
    ("file", "types"), [("train_transaction_fragments", TRANSACTION), ("train_identity_full", IDENTITY)]
)
def test_types_hold_every_real_value_exactly(file: str, types: dict[str, pl.DataType], sample: Path) -> None:
    raw = pl.read_parquet(sample / f"{file}.parquet")
    for name, dtype in types.items():
        assert_frame_equal(
            raw.select(name), raw.select(pl.col(name).cast(dtype).cast(raw[name].dtype)), check_exact=True
        )


def test_the_cache_is_used_again_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, cache = put(tmp_path / "raw"), tmp_path / "cache"
    first = load(folder, cache)
    with monkeypatch.context() as patch:
        patch.setattr(ieee_cis, "table_file", lambda *_: pytest.fail("read again"))
        again = load(folder, cache)
    assert again.fingerprint == first.fingerprint
    assert_frame_equal(again.frame.collect(), first.frame.collect())

    prints, known = {first.fingerprint}, {first.data_fingerprint}
    file = folder / "train_transaction.csv"
    before = file.stat()
    file.write_bytes(file.read_bytes().replace(b"68.55", b"68.56"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # only the content tells
    changed = load(folder, cache)
    assert changed.frame.collect()["TransactionAmt"].unique().to_list() == [68.56]
    prints.add(changed.fingerprint)
    known.add(changed.data_fingerprint)
    os.utime(folder / "train_identity.csv", ns=(0, 1))
    touched = load(folder, cache)
    prints.add(touched.fingerprint)
    assert touched.data_fingerprint == changed.data_fingerprint
    with monkeypatch.context() as patch:
        patch.setattr(ieee_cis, "VERSION", ieee_cis.VERSION + 1)
        newer = load(folder, cache)
        prints.add(newer.fingerprint)
        known.add(newer.data_fingerprint)
    assert (len(prints), len(known)) == (4, 3)


@pytest.mark.parametrize("most_in_memory", [1 << 30, 0])
@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [3, 0, 2, 1]])
def test_a_table_in_memory_is_the_one_on_disk(
    most_in_memory: int, rows: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small files are read into memory, large ones streamed, in order or not: the same table."""
    expected = load(put(tmp_path / "sound"), tmp_path / "cache").frame.collect()
    monkeypatch.setattr(ieee_cis_files, "_MOST_HELD", most_in_memory)
    given = transactions()
    source = load(put(tmp_path / "raw", as_csv([given[row] for row in rows])), tmp_path / "cache")
    assert_frame_equal(source.frame.collect(), expected)
    assert (source.in_memory is not None) == (most_in_memory > 0)
    if source.in_memory is not None:
        assert_frame_equal(source.in_memory, expected)
    assert load(tmp_path / "raw", tmp_path / "cache").in_memory is None
