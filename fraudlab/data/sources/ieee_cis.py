"""``data=ieee_cis``: Kaggle's IEEE-CIS Fraud Detection, read from the files that Kaggle ships.

A folder holds ``train_transaction`` and ``train_identity`` (and the test pair, if wanted) as Parquet, CSV, CSV in gzip
or zip, or both CSVs in Kaggle's own ``ieee-fraud-detection.zip``. They are read once, joined, checked and kept as one
Parquet file. A file named ``SIMULATED`` in the folder marks data from ``python -m fraudlab.simulate``.
"""

import csv
import gzip
import hashlib
import logging
import shutil
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import polars as pl
from polars import selectors
from polars.exceptions import PolarsError

from fraudlab.atomic import make_once
from fraudlab.config import IEEECISConfig
from fraudlab.data.sources import Source, fingerprint_of
from fraudlab.data.sources.ieee_cis_columns import (
    ADDR1_LIMIT,
    CLIENT,
    IDENTITY,
    REQUIRED,
    SIMULATED,
    TRANSACTION,
    table_schema,
)
from fraudlab.errors import UserError

log = logging.getLogger(__name__)

VERSION = 2  # of the cache: raised with any change that gives other data from the same files

KAGGLE_ZIP = "ieee-fraud-detection.zip"
_SUFFIXES = (".parquet", ".csv", ".csv.gz", ".csv.zip", ".zip")
_ENDS = 1 << 20  # bytes of a file's head and of its tail that its fingerprint takes in
_CHUNK = 1 << 24

Part = Literal["train", "test"]


def load(config: IEEECISConfig, cache_dir: Path) -> Source:
    """The training transactions with their identity columns, read on first use and kept as Parquet in ``cache_dir``.

    Columns and types: :mod:`fraudlab.data.sources.ieee_cis_columns`. To them comes ``client`` (Int32): 1000 * card1 +
    addr1 (0 where missing), the simplest key of who pays that the columns give. Rows out of order are sorted, identity
    rows without a transaction are left out, each with a counted warning when the files are first read.

    Raises:
        UserError: a file is missing, empty, damaged or cut short; columns are missing, doubled or unknown; a value
            does not suit its column; TransactionID is doubled in a file; an id, time, amount, card1 or label is
            missing, or the label is not 0 or 1.
    """
    path, fingerprint, simulated = _joined(config, cache_dir, "train")
    return Source(pl.scan_parquet(path, glob=False), table_schema(config.name, simulated), fingerprint)


def load_test(config: IEEECISConfig, cache_dir: Path) -> pl.LazyFrame:
    """Kaggle's test transactions, which have no label, read, kept and refused as by :func:`load`.

    Raises:
        UserError: as for :func:`load`; or the file has a label.
    """
    path, _, _ = _joined(config, cache_dir, "test")
    return pl.scan_parquet(path, glob=False)


def _joined(config: IEEECISConfig, cache_dir: Path, part: Part) -> tuple[Path, str, bool]:
    """The cached table of one part, its fingerprint, and whether it was simulated."""
    folder = _Folder(config.raw_dir)
    names = {kind: folder.find(f"{part}_{kind}") for kind in ("transaction", "identity")}
    simulated = SIMULATED in folder.names
    facts = [part, VERSION, simulated, [folder.facts(name) for name in names.values()]]
    fingerprint = fingerprint_of({"ieee_cis": facts})
    path = cache_dir / f"{config.name}_{fingerprint}.parquet"

    def write(aside: Path) -> None:
        log.info("reading %s from %s", " and ".join(dict.fromkeys(names.values())), config.raw_dir)
        with TemporaryDirectory(prefix=".ieee_cis_", dir=cache_dir) as scratch:
            transaction, identity = (
                _scan(
                    _unpacked(folder.fetch(name, Path(scratch)), f"{part}_{kind}", Path(scratch)),
                    part,
                    kind,
                    f"{config.raw_dir}/{name}",
                )
                for kind, name in names.items()
            )
            _write(transaction, identity, aside, Path(scratch))

    make_once(path, write)
    return path, fingerprint, simulated


class _Folder:
    """``data.raw_dir``: a folder on this machine, or one behind an address that fsspec opens.

    Args:
        raw_dir: path, or address such as ``gs://bucket/folder``.

    Raises:
        UserError: the address cannot be opened.
    """

    def __init__(self, raw_dir: str) -> None:
        self.raw_dir = raw_dir
        self._path = Path(raw_dir).expanduser()
        self._remote: Any = None
        if "://" not in raw_dir:
            self.names = {file.name for file in self._path.iterdir()} if self._path.is_dir() else set()
            return
        try:
            from fsspec.core import url_to_fs

            self._remote, self._root = url_to_fs(raw_dir)
            files = self._remote.ls(self._root, detail=False)
        except FileNotFoundError:
            files = []
        except Exception as error:  # each of fsspec's file systems has its own
            raise UserError(
                f"data.raw_dir={raw_dir} cannot be opened ({error}); gs:// needs pip install 'fraudlab[data]' and "
                "gcloud auth application-default login, or download the folder and give its path"
            ) from error
        self.names = {file.rstrip("/").rpartition("/")[2] for file in files}

    def find(self, stem: str) -> str:
        """Name of the file that holds the table ``stem``."""
        for name in (*(stem + suffix for suffix in _SUFFIXES), KAGGLE_ZIP):
            if name in self.names:
                return name
        raise UserError(
            f"data.raw_dir={self.raw_dir} has no {stem} ({', '.join(_SUFFIXES)}) and no {KAGGLE_ZIP}. Accept the rules "
            "at https://www.kaggle.com/competitions/ieee-fraud-detection, then `kaggle competitions download -c "
            "ieee-fraud-detection` into that folder, or `dvc pull` where your team keeps it; without Kaggle's data, "
            "data=ieee_cis_simulated makes some"
        )

    def facts(self, name: str) -> list[Any]:
        """What changes when the file does: name, size, time of change, hash of both ends."""
        if self._remote is not None:
            place = f"{self._root}/{name}"
            info = self._remote.info(place)
            changed = str(info.get("mtime") or info.get("updated") or info.get("created"))
            ends = self._remote.head(place, _ENDS) + self._remote.tail(place, _ENDS)
            return [name, info["size"], changed, hashlib.sha256(ends).hexdigest()]
        stat = (self._path / name).stat()
        with (self._path / name).open("rb") as file:
            ends = file.read(_ENDS)
            file.seek(max(stat.st_size - _ENDS, 0))
            ends += file.read()
        return [name, stat.st_size, stat.st_mtime_ns, hashlib.sha256(ends).hexdigest()]

    def fetch(self, name: str, scratch: Path) -> Path:
        """The file on this machine; one from elsewhere is copied to ``scratch``."""
        if self._remote is None:
            return self._path / name
        if not (scratch / name).exists():  # Kaggle's zip is asked for twice
            self._remote.get_file(f"{self._root}/{name}", str(scratch / name))
        return scratch / name


def _unpacked(file: Path, stem: str, scratch: Path) -> Path:
    """The Parquet or plain CSV file of a table, unpacked to ``scratch`` where it is packed."""
    if file.suffix not in (".gz", ".zip"):
        return file
    plain = scratch / f"{stem}.csv"
    try:
        if file.suffix == ".gz":
            with gzip.open(file) as packed, plain.open("wb") as out:
                shutil.copyfileobj(packed, out, _CHUNK)
            return plain
        with zipfile.ZipFile(file) as archive:
            member = next((name for name in archive.namelist() if name.rpartition("/")[2] == plain.name), None)
            if member is None:
                raise UserError(f"{file} holds no {plain.name} but: {', '.join(archive.namelist())[:200]}")
            with archive.open(member) as packed, plain.open("wb") as out:
                shutil.copyfileobj(packed, out, _CHUNK)
    except (gzip.BadGzipFile, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise _damaged(file, error) from error
    return plain


def _scan(file: Path, part: Part, kind: str, shown: str) -> pl.LazyFrame:
    """One table with its columns named, ordered and typed as the schema says; NaN becomes null.

    Messages call the file ``shown``: the user never sees where it was unpacked.

    Raises:
        UserError: the file is empty or cut short, or has other columns.
    """
    types = TRANSACTION if kind == "transaction" else IDENTITY
    types = {name: dtype for name, dtype in types.items() if (part, name) != ("test", "isFraud")}
    try:
        if file.suffix == ".parquet":
            header = pl.scan_parquet(file, glob=False).collect_schema().names()
        else:
            with file.open("rb") as lines:
                header = next(csv.reader([lines.readline().decode("utf-8-sig")]), [])
    except (PolarsError, UnicodeDecodeError) as error:
        raise _damaged(shown, error) from error
    if not header:
        raise UserError(f"{shown} is empty; fetch or make it again")

    renamed = {name: name.replace("id-", "id_") if name.startswith("id-") else name for name in header}
    if len(set(renamed.values())) < len(header):
        raise UserError(f"{shown} names a column more than once; fetch or make it again")
    missing, extra = _listed(set(types) - set(renamed.values())), _listed(set(renamed.values()) - set(types))
    if missing == "isFraud" and not extra:
        raise UserError(f"{shown} has no label isFraud: it looks like Kaggle's test file, which cannot be trained on")
    if extra == "isFraud" and not missing:
        raise UserError(f"{shown} has a label isFraud, which Kaggle's test file has not: it looks like a training file")
    if missing or extra:
        wrong = [f"it lacks {missing}"] * bool(missing) + [f"it has the unknown {extra}"] * bool(extra)
        raise UserError(f"{shown} has other columns than Kaggle's {part}_{kind}: {' and '.join(wrong)}")

    if file.suffix == ".parquet":
        frame = pl.scan_parquet(file, glob=False)
    else:
        _check_cells(file, len(header), shown)
        typed = {name: types[renamed[name]] for name in header}
        frame = pl.scan_csv(file, schema=typed, glob=False)
    typed_frame = frame.rename(renamed).select(pl.col(name).cast(dtype) for name, dtype in types.items())
    return typed_frame.with_columns(selectors.float().fill_nan(None))


def _check_cells(file: Path, columns: int, shown: str) -> None:
    """Refuse a CSV whose lines do not all have ``columns`` cells: Polars would fill up short ones with nulls.

    Raises:
        UserError: a line is cut short or blank.
    """
    separators = lines = 0
    quoted, last = False, b""
    with file.open("rb") as source:
        while chunk := source.read(_CHUNK):
            last = chunk[-1:]
            codes = np.frombuffer(chunk, np.uint8)
            if quoted or b'"' in chunk:
                inside = (np.cumsum(codes == ord('"'), dtype=np.int32) + quoted) % 2 == 1
                quoted, codes = bool(inside[-1]), codes[~inside]
            separators += int(np.count_nonzero(codes == ord(",")))
            lines += int(np.count_nonzero(codes == ord("\n")))
    if last != b"\n" or separators != lines * (columns - 1):
        raise UserError(
            f"{shown} is cut short or damaged: its {lines:,} lines of {columns} columns should have "
            f"{lines * (columns - 1):,} separators but have {separators:,}"
            + (", and the last line has no end" if last != b"\n" else "")
            + "; fetch or make it again"
        )


def _write(transaction: pl.LazyFrame, identity: pl.LazyFrame, aside: Path, scratch: Path) -> None:
    """Join the tables, check what only their values tell, and write them to ``aside`` in order of time, then id."""
    try:
        identities = identity.collect()
    except PolarsError as error:
        raise _damaged("the identity file", error) from error
    _check_ids(identities["TransactionID"], "identity")

    client = pl.col("card1") * ADDR1_LIMIT + pl.col("addr1").fill_null(0).cast(pl.Int32)
    try:
        joined = transaction.join(identities.lazy(), on="TransactionID", how="left", maintain_order="left")
        joined.with_columns(client.alias(CLIENT)).sink_parquet(aside, compression="lz4", row_group_size=65536)
    except PolarsError as error:
        raise _damaged("the transaction file", error) from error
    required = [name for name in REQUIRED if name in transaction.collect_schema()]
    rows = pl.scan_parquet(aside, glob=False).select(*required, "addr1").collect()
    _check_rows(rows)

    if alone := identities.join(rows, on="TransactionID", how="anti").height:
        log.warning("%d of %d identity rows have no transaction and are left out", alone, identities.height)
    time, number = pl.col("TransactionDT").diff(), pl.col("TransactionID").diff()
    if late := rows.select(((time < 0) | ((time == 0) & (number < 0))).sum()).item():
        log.warning("%d of %d transactions follow a later one; sorted by TransactionDT", late, rows.height)
        ordered = pl.scan_parquet(aside, glob=False).sort("TransactionDT", "TransactionID")
        ordered.sink_parquet(scratch / "ordered.parquet", compression="lz4", row_group_size=65536)
        (scratch / "ordered.parquet").replace(aside)


def _check_rows(rows: pl.DataFrame) -> None:
    if rows.is_empty():
        raise UserError("the transaction file has a header but no rows; fetch or make it again")
    _check_ids(rows["TransactionID"], "transaction")
    required = rows.drop("addr1")
    for column in required:
        if column.null_count():
            raise UserError(f"{column.name} is missing in {column.null_count():,} transactions; fetch the file again")
    if "isFraud" in rows and (wrong := rows["isFraud"].filter(~rows["isFraud"].is_in([0, 1]))).len():
        raise UserError(f"isFraud must be 0 or 1 but holds {_listed(map(str, wrong.unique()))}; fetch the file again")
    if not rows["addr1"].drop_nulls().is_between(0, ADDR1_LIMIT, closed="left").all():
        raise UserError(f"addr1 must lie from 0 to {ADDR1_LIMIT - 1}, as Kaggle's does; fetch the file again")


def _check_ids(ids: pl.Series, kind: str) -> None:
    if (doubled := ids.filter(ids.is_duplicated())).len():
        raise UserError(
            f"the {kind} file has {doubled.n_unique():,} TransactionIDs in more than one row, the first "
            f"{doubled[0]}; fetch or make it again"
        )


def _listed(names: Iterable[str]) -> str:
    there = sorted(names)
    return ", ".join(there[:10]) + (f" and {len(there) - 10} more" if len(there) > 10 else "")


def _damaged(shown: Path | str, error: Exception) -> UserError:
    said = str(error).strip().partition("\n")[0]
    return UserError(f"{shown} cannot be read ({said}); it may be damaged or cut short: fetch or make it again")
