import csv
import datetime
import gzip
import io
import logging
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from polars.testing import assert_frame_equal

from fraudlab.config import IEEECISConfig
from fraudlab.data.sources import Source, ieee_cis
from fraudlab.data.sources.ieee_cis_columns import CATEGORICAL, IDENTITY, NUMERIC, START, TRANSACTION, table_schema
from fraudlab.errors import UserError

IDS = (10, 11, 12, 13)
TIMES = (86400, 86401, 86401, 90000)
IDENTITY_IDS = (11, 13)

Row = dict[str, str]


def transactions() -> list[Row]:
    blank = dict.fromkeys(TRANSACTION, "")
    return [
        {
            **blank,
            "TransactionID": str(number),
            "isFraud": str(int(number == 12)),
            "TransactionDT": str(time),
            "TransactionAmt": "68.55",
            "ProductCD": "W",
            "card1": "13926",
            "addr1": "315.0" if number % 2 else "",
            "C1": "1.0",
            "D9": "0.958333015441895",
            "M1": "T",
            "V126": "117.39",
            "V339": "2.0" if number == 10 else "",
        }
        for number, time in zip(IDS, TIMES, strict=True)
    ]


def identities() -> list[Row]:
    blank = dict.fromkeys(IDENTITY, "")
    return [
        {**blank, "TransactionID": str(number), "id_01": "-5.0", "id_31": "chrome, beta", "DeviceInfo": 'TV 40" "x"'}
        for number in IDENTITY_IDS
    ]


def as_csv(rows: list[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def put(folder: Path, transaction: bytes | None = None, identity: bytes | None = None, part: str = "train") -> Path:
    """Both files in ``folder``, small and sound where not given."""
    folder.mkdir(exist_ok=True)
    (folder / f"{part}_transaction.csv").write_bytes(as_csv(transactions()) if transaction is None else transaction)
    (folder / f"{part}_identity.csv").write_bytes(as_csv(identities()) if identity is None else identity)
    return folder


def load(folder: Path | str, cache: Path) -> Source:
    return ieee_cis.load(IEEECISConfig(raw_dir=str(folder)), cache)


def zipped(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


# ---------------------------------------------------------------------------------------------------- real rows


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


# ------------------------------------------------------------------------------------------------------ the schema


def test_the_schema_is_that_of_kaggle() -> None:
    assert (len(TRANSACTION), len(IDENTITY)) == (394, 41)
    assert len(CATEGORICAL) + len(NUMERIC) == 394 + 40 - 4
    schema = table_schema("ieee_cis", simulated=False)
    assert (schema.id, schema.time, schema.card, schema.amount, schema.label) == (
        "TransactionID",
        "TransactionDT",
        "client",
        "TransactionAmt",
        "isFraud",
    )
    assert set(schema.names("categorical")) == set(CATEGORICAL)
    assert set(schema.names("numeric")) == set(NUMERIC)
    assert datetime.date(2017, 11, 30) == START


def test_frame_and_schema_agree(tmp_path: Path) -> None:
    source = load(put(tmp_path / "raw"), tmp_path / "cache")
    frame = source.frame.collect()
    assert frame.columns == [column.name for column in source.schema.columns]
    for column in source.schema.columns:
        dtype = frame[column.name].dtype
        assert (column.type == "string") == (dtype == pl.String)
        assert (column.type == "integer") == dtype.is_integer()
    assert frame["TransactionID"].to_list() == list(IDS)
    assert frame["client"].to_list() == [13926000, 13926315, 13926000, 13926315]
    assert frame["id_31"].to_list() == [None, "chrome, beta", None, "chrome, beta"]
    assert frame["DeviceInfo"][1] == 'TV 40" "x"'
    assert frame["D9"][0] == 0.958333015441895
    assert frame["V126"][0] == 117.39
    assert not source.schema.simulated


def test_the_marker_of_the_simulator_shows_in_the_schema(tmp_path: Path) -> None:
    folder = put(tmp_path / "raw")
    real = load(folder, tmp_path / "cache")
    (folder / "SIMULATED").write_text("by fraudlab")
    simulated = load(folder, tmp_path / "cache")
    assert simulated.schema.simulated
    assert simulated.fingerprint != real.fingerprint


# ------------------------------------------------------------------------------------------------ kinds of files


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
    assert [file.suffix for file in (tmp_path / "cache").iterdir()] == [".parquet", ".parquet"]


def test_a_remote_folder_is_read_once(tmp_path: Path) -> None:
    expected = load(put(tmp_path / "raw"), tmp_path / "cache").frame.collect()
    bucket = MemoryFileSystem()
    for file in (tmp_path / "raw").iterdir():
        bucket.pipe(f"/ieee_bucket/{file.name}", file.read_bytes())
    try:
        source = load("memory://ieee_bucket", tmp_path / "remote")
        assert_frame_equal(source.frame.collect(), expected)
        made = [(file.name, file.stat().st_mtime_ns) for file in (tmp_path / "remote").iterdir()]
        assert len(made) == 1
        load("memory://ieee_bucket", tmp_path / "remote")
        assert [(file.name, file.stat().st_mtime_ns) for file in (tmp_path / "remote").iterdir()] == made
    finally:
        bucket.rm("/ieee_bucket", recursive=True)


def test_an_address_that_cannot_be_opened_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nosuch://bucket cannot be opened .*fraudlab\[data\]"):
        load("nosuch://bucket", tmp_path)


# ----------------------------------------------------------------------------------------------------- the cache


def test_the_cache_is_used_again_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, cache = put(tmp_path / "raw"), tmp_path / "cache"
    first = load(folder, cache)
    with monkeypatch.context() as patch:
        patch.setattr(ieee_cis, "table_file", lambda *_: pytest.fail("read again"))
        again = load(folder, cache)
    assert again.fingerprint == first.fingerprint
    assert_frame_equal(again.frame.collect(), first.frame.collect())

    prints = {first.fingerprint}
    file = folder / "train_transaction.csv"
    before = file.stat()
    file.write_bytes(file.read_bytes().replace(b"68.55", b"68.56"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # only the content tells
    changed = load(folder, cache)
    assert changed.frame.collect()["TransactionAmt"].unique().to_list() == [68.56]
    prints.add(changed.fingerprint)
    os.utime(folder / "train_identity.csv", ns=(0, 1))
    prints.add(load(folder, cache).fingerprint)
    with monkeypatch.context() as patch:
        patch.setattr(ieee_cis, "VERSION", ieee_cis.VERSION + 1)
        prints.add(load(folder, cache).fingerprint)
    assert len(prints) == 4


# ----------------------------------------------------------------------------------------------------- bad input


def _with(rows: list[Row], number: int, **cells: str) -> bytes:
    rows[number] |= cells
    return as_csv(rows)


def _without(rows: list[Row], *names: str) -> bytes:
    return as_csv([{name: cell for name, cell in row.items() if name not in names} for row in rows])


GOOD = as_csv(transactions())
GOOD_IDENTITY = as_csv(identities())
LINES = GOOD.splitlines(keepends=True)


@pytest.mark.parametrize(
    ("transaction", "said"),
    [
        (GOOD[:-400], "train_transaction.csv is cut short .*last line has no end"),
        (GOOD[:-1], "train_transaction.csv is cut short"),
        (b"".join([*LINES[:2], LINES[2][:200] + b"\n", *LINES[3:]]), "train_transaction.csv is cut short"),
        (b"".join([*LINES[:2], b"\n", *LINES[2:]]), "train_transaction.csv is cut short"),
        (b"".join([*LINES[:2], LINES[2][:-1] + b",7\n", *LINES[3:]]), "cut short or damaged"),
        (_without(transactions(), "V17", "C3"), "train_transaction.csv .*it lacks C3, V17"),
        (_with(transactions(), 0, other="1"), "unknown other"),
        (_without(transactions(), "isFraud"), "no label isFraud: it looks like Kaggle's test file"),
        (GOOD.replace(b"V17,", b"V18,", 1), "names a column more than once"),
        (_with(transactions(), 1, TransactionID="10"), "1 TransactionIDs in more than one row, the first 10"),
        (_with(transactions(), 1, TransactionID=""), "TransactionID is missing in 1 transactions"),
        (_with(transactions(), 1, TransactionDT=""), "TransactionDT is missing in 1 transactions"),
        (_with(transactions(), 1, isFraud=""), "isFraud is missing in 1 transactions"),
        (_with(transactions(), 1, isFraud="2"), "isFraud must be 0 or 1 but holds 2"),
        (_with(transactions(), 1, addr1="1315.0"), "addr1 must lie from 0 to 999"),
        (_with(transactions(), 1, C1="many"), "could not parse `many`"),
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
        (_without(identities(), "id_07"), "train_identity.csv .*it lacks id_07"),
        (_with(identities(), 1, TransactionID="11"), "the identity file has 1 TransactionIDs in more than one row"),
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
    folder = put(tmp_path / "raw", None, _with(identities(), 1, TransactionID="99"))
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
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_the_test_files_have_no_label(tmp_path: Path) -> None:
    config, cache = IEEECISConfig(raw_dir=str(tmp_path / "raw")), tmp_path / "cache"
    put(tmp_path / "raw", _without(transactions(), "isFraud"), GOOD_IDENTITY.replace(b"id_", b"id-"), part="test")
    frame = ieee_cis.load_test(config, cache).collect()
    assert "isFraud" not in frame.columns
    assert frame["id_01"].to_list() == [None, -5.0, None, -5.0]

    put(tmp_path / "raw", part="test")
    with pytest.raises(UserError, match="test_transaction.csv has a label isFraud"):
        ieee_cis.load_test(config, cache)
    assert len(list(cache.iterdir())) == 1
