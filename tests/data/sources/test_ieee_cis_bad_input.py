"""Bad files are one clear error, or a counted warning, and leave nothing behind."""

import gzip
import logging
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

from fraudlab.config import IEEECISConfig
from fraudlab.data.sources import ieee_cis
from fraudlab.errors import UserError
from tests.support.ieee_cis_pair import IDS, as_csv, changed, identities, load, put, transactions, without, zipped

GOOD = as_csv(transactions())
GOOD_IDENTITY = as_csv(identities())
LINES = GOOD.splitlines(keepends=True)


@pytest.mark.parametrize(
    ("transaction", "said"),
    [
        (GOOD[:-400], "train_transaction.csv is cut short .*last line has no line end"),
        (GOOD[:-1], "train_transaction.csv is cut short"),
        (b"".join([*LINES[:2], LINES[2][:200] + b"\n", *LINES[3:]]), "train_transaction.csv is cut short"),
        (b"".join([*LINES[:2], b"\n", *LINES[2:]]), "train_transaction.csv is cut short"),
        (b"".join([*LINES[:2], LINES[2][:-1] + b",7\n", *LINES[3:]]), "cut short or damaged"),
        (without(transactions(), "V17", "C3"), "train_transaction.csv .*it lacks C3, V17"),
        (changed(transactions(), 0, other="1"), "unknown columns other"),
        (without(transactions(), "isFraud"), "no label isFraud: it looks like Kaggle's test file"),
        (GOOD.replace(b"V17,", b"V18,", 1), "names a column more than once"),
        (changed(transactions(), 1, TransactionID="10"), "1 TransactionIDs in more than one row, the first 10"),
        (changed(transactions(), 1, TransactionID=""), "TransactionID is missing in 1 transactions"),
        (changed(transactions(), 1, TransactionDT=""), "TransactionDT is missing in 1 transactions"),
        (changed(transactions(), 1, isFraud=""), "isFraud is missing in 1 transactions"),
        (changed(transactions(), 1, isFraud="2"), "isFraud must be 0 or 1 but holds 2"),
        (changed(transactions(), 1, addr1="1315.0"), "addr1 must lie from 0 to 999"),
        (changed(transactions(), 1, C1="many"), "could not parse `many`"),
        (GOOD.replace(b",W,", b",\xff\xfe,"), "utf-8"),
        (GOOD.replace(b"ProductCD", b"Product\xff\xfe", 1), "utf-8"),
        (b"", "train_transaction.csv is empty"),
        (LINES[0], "no rows"),
    ],
)
def test_a_bad_transaction_file_is_one_error_and_leaves_nothing(transaction: bytes, said: str, tmp_path: Path) -> None:
    folder, cache = put(tmp_path / "raw", transaction), tmp_path / "cache"
    with pytest.raises(UserError, match=said):
        load(folder, cache)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    ("identity", "said"),
    [
        (GOOD_IDENTITY[:-30], "train_identity.csv is cut short"),
        (without(identities(), "id_07"), "train_identity.csv .*it lacks id_07"),
        (changed(identities(), 1, TransactionID="11"), "the identity file has 1 TransactionIDs in more than one row"),
        (GOOD_IDENTITY.replace(b"chrome", b"chr\xff\xfee"), "the identity file cannot be read .*utf-8"),
        (b"", "train_identity.csv is empty"),
    ],
)
def test_a_bad_identity_file_is_one_error_and_leaves_nothing(identity: bytes, said: str, tmp_path: Path) -> None:
    folder, cache = put(tmp_path / "raw", None, identity), tmp_path / "cache"
    with pytest.raises(UserError, match=said):
        load(folder, cache)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("train_transaction.zip", GOOD, "not a zip file"),
        ("train_transaction.zip", zipped({"test_transaction.csv": GOOD}), "holds no train_transaction.csv but: test_"),
        ("train_transaction.csv.zip", zipped({"train_transaction.csv": GOOD})[:-60], "not a zip file"),
        ("ieee-fraud-detection.zip", zipped({"train_identity.csv": GOOD}), "holds no train_transaction.csv"),
        ("train_transaction.csv.gz", GOOD, "cannot be read"),
        ("train_transaction.csv.gz", gzip.compress(GOOD)[:-40], "cannot be read"),
        ("train_transaction.parquet", GOOD, "cannot be read"),
    ],
)
def test_a_wrong_archive_is_one_error_and_leaves_nothing(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    folder, cache = put(tmp_path / "raw"), tmp_path / "cache"
    (folder / "train_transaction.csv").unlink()
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        load(folder, cache)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("missing", ["train_transaction.csv", "train_identity.csv", None])
def test_missing_files_say_where_to_get_them(missing: str | None, tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    if missing is not None:
        (put(folder) / missing).unlink()
    with pytest.raises(UserError) as error:
        load(folder, tmp_path / "cache")
    for said in (
        (missing or "train_transaction").removesuffix(".csv"),
        "https://www.kaggle.com/competitions/ieee-fraud-detection",
        "kaggle competitions download -c ieee-fraud-detection",
        "dvc pull",
        "data=ieee_cis_simulated",
    ):
        assert said in str(error.value)
    assert not (tmp_path / "cache").exists()


def test_identity_rows_without_a_transaction_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = put(tmp_path / "raw", None, changed(identities(), 1, TransactionID="99"))
    with caplog.at_level(logging.WARNING):
        frame = load(folder, tmp_path / "cache").frame.collect()
    assert caplog.messages == ["1 of 2 identity rows have no transaction and are left out"]
    assert frame["TransactionID"].to_list() == list(IDS)


def test_times_out_of_order_are_counted_and_sorted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sound = load(put(tmp_path / "sound"), tmp_path / "cache").frame.collect()
    rows = transactions()
    folder = put(tmp_path / "raw", as_csv([rows[3], rows[0], rows[2], rows[1]]))
    with caplog.at_level(logging.WARNING):
        frame = load(folder, tmp_path / "cache").frame.collect()
    assert caplog.messages == ["2 of 4 transactions follow a later one; sorted by TransactionDT"]
    assert_frame_equal(frame, sound)
    assert len(list((tmp_path / "cache").glob("*.parquet"))) == 2


def test_the_test_files_have_no_label(tmp_path: Path) -> None:
    config, cache = IEEECISConfig(raw_dir=str(tmp_path / "raw")), tmp_path / "cache"
    put(tmp_path / "raw", without(transactions(), "isFraud"), GOOD_IDENTITY.replace(b"id_", b"id-"), part="test")
    frame = ieee_cis.load_test(config, cache).collect()
    assert "isFraud" not in frame.columns
    assert frame["id_01"].to_list() == [None, -5.0, None, -5.0]

    put(tmp_path / "raw", part="test")
    with pytest.raises(UserError, match="test_transaction.csv has a label isFraud"):
        ieee_cis.load_test(config, cache)
    assert len(list(cache.glob("*.parquet"))) == 1
