"""The files of IEEE-CIS: found in a folder or behind an address, unpacked, and compared with Kaggle's columns."""

import csv
import gzip
import hashlib
import shutil
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from polars import selectors
from polars.exceptions import PolarsError

from fraudlab.data.sources.ieee_cis_columns import IDENTITY, TRANSACTION
from fraudlab.errors import UserError

KAGGLE_ZIP = "ieee-fraud-detection.zip"
_SUFFIXES = (".parquet", ".csv", ".csv.gz", ".csv.zip", ".zip")
_ENDS = 1 << 20  # bytes of a file's head and of its tail that its fingerprint hashes
_CHUNK = 1 << 24
_MOST_HELD = 1 << 30  # bytes of CSV; a larger file is never whole in memory
_PACKED = 16  # size of a table as CSV, relative to Parquet

Part = Literal["train", "test"]


class Folder:
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
        """Facts that change with the file: name, size, modification time, hash of both ends."""
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
        if not (scratch / name).exists():  # Kaggle's zip is requested twice
            self._remote.get_file(f"{self._root}/{name}", str(scratch / name))
        return scratch / name


def unpacked(file: Path, stem: str, scratch: Path) -> Path:
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
        raise damaged(file, error) from error
    return plain


@dataclass(frozen=True)
class TableFile:
    """A table's file, Parquet or plain CSV, whose header is right."""

    raw: pl.LazyFrame
    types: Mapping[str, pl.DataType]  # of the columns, in the order in which they are wanted
    small: bool  # enough to be read into memory whole

    def scan(self) -> pl.LazyFrame:
        """The table with its columns named, ordered and typed as the schema says; NaN becomes null."""
        return self._tidy(self.raw).with_columns(selectors.float().fill_nan(None)).lazy()

    def read(self) -> pl.DataFrame:
        """The same, in memory."""
        frame = self._tidy(self.raw.collect(engine="streaming").lazy()).collect().rechunk()
        nan = frame.select(selectors.float().is_nan().any())
        return frame.with_columns(pl.col(name).fill_nan(None) for name in nan.columns if nan[name][0])

    def _tidy(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        names = {_name(name): name for name in frame.collect_schema().names()}
        return frame.select(pl.col(names[name]).alias(name).cast(dtype) for name, dtype in self.types.items())


def table_file(file: Path, part: Part, kind: str, shown: str) -> TableFile:
    """The table in ``file``, ``kind`` transaction or identity; messages call it ``shown``.

    Raises:
        UserError: the file is empty or cut short, or has other columns.
    """
    types = TRANSACTION if kind == "transaction" else IDENTITY
    types = {name: dtype for name, dtype in types.items() if (part, name) != ("test", "isFraud")}
    packed = file.suffix == ".parquet"
    try:
        if packed:
            header = pl.scan_parquet(file, glob=False).collect_schema().names()
        else:
            with file.open("rb") as lines:
                header = next(csv.reader([lines.readline().decode("utf-8-sig")]), [])
    except (PolarsError, UnicodeDecodeError) as error:
        raise damaged(shown, error) from error
    if not header:
        raise UserError(f"{shown} is empty; fetch or make it again")
    _check_header([_name(name) for name in header], types, f"{part}_{kind}", shown)
    if packed:
        raw = pl.scan_parquet(file, glob=False)
    else:
        _check_cells(file, len(header), shown)
        raw = pl.scan_csv(file, schema={name: types[_name(name)] for name in header}, glob=False)
    return TableFile(raw, types, file.stat().st_size * (_PACKED if packed else 1) <= _MOST_HELD)


def _name(name: str) -> str:
    """A column's name; Kaggle's test files write ``id-01`` for ``id_01``."""
    return name.replace("id-", "id_") if name.startswith("id-") else name


def _check_header(names: list[str], types: Mapping[str, pl.DataType], expected: str, shown: str) -> None:
    if len(set(names)) < len(names):
        raise UserError(f"{shown} names a column more than once; fetch or make it again")
    missing, extra = listed(set(types) - set(names)), listed(set(names) - set(types))
    if missing == "isFraud" and not extra:
        raise UserError(f"{shown} has no label isFraud: it looks like Kaggle's test file, which cannot be trained on")
    if extra == "isFraud" and not missing:
        raise UserError(f"{shown} has a label isFraud, unlike Kaggle's test file: it looks like a training file")
    if missing or extra:
        wrong = [f"it lacks {missing}"] * bool(missing) + [f"it has unknown columns {extra}"] * bool(extra)
        raise UserError(f"{shown} has other columns than Kaggle's {expected}: {' and '.join(wrong)}")


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
            + (", and the last line has no line end" if last != b"\n" else "")
            + "; fetch or make it again"
        )


def listed(names: Iterable[str]) -> str:
    there = sorted(names)
    return ", ".join(there[:10]) + (f" and {len(there) - 10} more" if len(there) > 10 else "")


def damaged(shown: Path | str, error: Exception) -> UserError:
    said = str(error).strip().partition("\n")[0]
    return UserError(f"{shown} cannot be read ({said}); it may be damaged or cut short: fetch or make it again")
