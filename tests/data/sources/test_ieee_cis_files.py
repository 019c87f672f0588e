"""Each way in which the files may lie about gives the same table."""

import gzip
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from polars.testing import assert_frame_equal

from fraudlab.errors import UserError
from tests.support.ieee_cis_pair import as_csv, load, put, transactions, zipped


def _gz(folder: Path) -> None:
    for file in list(folder.iterdir()):
        (folder / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()


def _zip(folder: Path) -> None:
    for file, name in zip(sorted(folder.iterdir()), ("train_identity.csv.zip", "train_transaction.zip"), strict=True):
        (folder / name).write_bytes(zipped({file.name: file.read_bytes()}))
        file.unlink()


def _kaggle_zip(folder: Path) -> None:
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    (folder / "ieee-fraud-detection.zip").write_bytes(zipped({"sample_submission.csv": b"x\n", **files}))
    for name in files:
        (folder / name).unlink()


def _parquet(folder: Path) -> None:
    # As pandas writes it: wide types, and NaN for what is missing.
    for file in list(folder.iterdir()):
        frame = pl.read_csv(file, infer_schema_length=None).with_columns(pl.col(pl.Float64).fill_null(float("nan")))
        frame.write_parquet(file.with_suffix(".parquet"))
        file.unlink()


def _windows(folder: Path) -> None:
    for file in folder.iterdir():
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))


def _test_spelling(folder: Path) -> None:
    file = folder / "train_identity.csv"
    header, rest = file.read_bytes().split(b"\n", 1)
    file.write_bytes(header.replace(b"id_", b"id-") + b"\n" + rest)


def _other_order(folder: Path) -> None:
    file = folder / "train_transaction.csv"
    file.write_bytes(as_csv([dict(reversed(row.items())) for row in transactions()]))


@pytest.mark.parametrize("change", [_gz, _zip, _kaggle_zip, _parquet, _windows, _test_spelling, _other_order])
def test_every_kind_of_file_gives_the_same_frame(change: Callable[[Path], None], tmp_path: Path) -> None:
    expected = load(put(tmp_path / "plain"), tmp_path / "cache").frame.collect()
    folder = put(tmp_path / "raw")
    change(folder)
    source = load(folder, tmp_path / "cache")
    assert_frame_equal(source.frame.collect(), expected)
    kept = [".json", ".json", ".parquet", ".parquet"]
    assert sorted(file.suffix for file in (tmp_path / "cache").iterdir()) == kept


def test_a_remote_folder_is_read_once(tmp_path: Path) -> None:
    local = load(put(tmp_path / "raw"), tmp_path / "cache")
    bucket = MemoryFileSystem()
    for file in (tmp_path / "raw").iterdir():
        bucket.pipe(f"/ieee_bucket/{file.name}", file.read_bytes())
    try:
        source = load("memory://ieee_bucket", tmp_path / "remote")
        assert_frame_equal(source.frame.collect(), local.frame.collect())
        assert source.data_fingerprint == local.data_fingerprint
        made = [(file.name, file.stat().st_mtime_ns) for file in (tmp_path / "remote").iterdir()]
        assert len(made) == 2
        load("memory://ieee_bucket", tmp_path / "remote")
        assert [(file.name, file.stat().st_mtime_ns) for file in (tmp_path / "remote").iterdir()] == made
    finally:
        bucket.rm("/ieee_bucket", recursive=True)


def test_an_address_that_cannot_be_opened_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nosuch://bucket cannot be opened .*fraudlab\[data\]"):
        load("nosuch://bucket", tmp_path)
