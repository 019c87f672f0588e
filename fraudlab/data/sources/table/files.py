"""The files of a path, the kind of each, and local copies of remote files."""

import gzip
import hashlib
import re
import zipfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Literal
from urllib.parse import unquote

from fraudlab.errors import UserError
from fraudlab.files import replacing

Kind = Literal["parquet", "arrow", "excel", "jsonl", "json", "text"]

_ENDINGS: dict[str, tuple[str, ...]] = {
    "Parquet": (".parquet", ".pq"),
    "Arrow": (".arrow", ".feather", ".ipc"),
    "Excel": (".xlsx", ".xls", ".xlsb", ".xlsm", ".ods"),
    "JSON": (".jsonl", ".ndjson", ".json"),
    "CSV": (".csv", ".tsv", ".tab", ".psv"),
    "text": (".txt", ".data", ".dat"),  # only where a folder has nothing else: a README is one too
}
_COMPRESSED = (".gz", ".zst", ".zip")
_REMOTE = ("gs://", "gcs://", "s3://", "http://", "https://", "memory://")
_CACHED = re.compile(r"fetched|queries|(table|sheet|json|utf8)[-_][0-9a-f]{12,16}([.-].*)?")  # in paths.data_dir
_HEAD = 1 << 18
_ZSTANDARD = b"\x28\xb5\x2f\xfd"  # its first bytes
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_PACKED = {
    b"BZh": "packed with bzip2",
    b"\xfd7zXZ\0": "packed with xz",
    b"7z\xbc\xaf'\x1c": "an archive of 7-Zip",
    b"Rar!\x1a": "an archive of RAR",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"%PDF-": "a PDF",
    b"SQLite format 3\0": "a database of SQLite",
    b"\x89HDF": "in HDF5",
    b"PAR1": "a packed Parquet file",
    b"ARROW1": "a packed Arrow file",
    b"\x1f\x8b": "packed twice",
    b"PK\x03\x04": "an archive in an archive",
}  # by the first bytes


@dataclass(frozen=True)
class Found:
    """A file of a table, and the columns in the names of its folders (``month=1``)."""

    path: Path
    kind: Kind
    partition: dict[str, str | None] = field(default_factory=dict)


def find(key: str, address: str, cache_dir: Path) -> list[Found]:
    """The files at ``address``, in order of their paths.

    Args:
        key: the setting that gave it, for messages: ``data.path``.
        address: a file, a folder with its sub-folders, a glob, or an address that fsspec knows.
        cache_dir: folder for copies of remote files.

    Raises:
        UserError: there is no file, or a folder holds tables of several kinds.
    """
    if address.startswith(_REMOTE):
        root, files = _fetched(key, address, cache_dir)
    else:
        root, files = _local(key, address)
    return [Found(file, _kind(file), _partition(file.relative_to(root))) for file in files]


def _local(key: str, address: str) -> tuple[Path, list[Path]]:
    given = Path(address).expanduser()
    if given.is_file():
        return given.parent, [given]
    if given.is_dir():
        files = [file for file in given.rglob("*") if file.is_file() and not _hidden(file.relative_to(given))]
        found = _tables(key, address, files)
        if not found:
            endings = ", ".join(ending for known in _ENDINGS.values() for ending in known)
            raise UserError(f"{key}={address} is a folder without any table ({endings}, also .gz, .zip or .zst)")
        return given, found
    if any(mark in address for mark in "*?["):
        found = [f for f in Path(given.anchor).glob(str(given.relative_to(given.anchor))) if f.is_file()]
        root = Path(*given.parts[: next(i for i, part in enumerate(given.parts) if any(m in part for m in "*?["))])
        found = [file for file in found if not _hidden(file.relative_to(root))]
        if not found:
            deeper = given.parent / "**" / given.name
            raise UserError(f"{key}={address} matches no file; searched {given.absolute()}; sub-folders too: {deeper}")
        _one_kind(key, address, found)
        return root, sorted(found)
    raise UserError(f"{key}={address} does not exist ({given.absolute()}); give a file, a folder or a glob")


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_", "~$")) or _CACHED.fullmatch(part) for part in path.parts)


def _family(file: Path) -> str | None:
    name = file.name.lower()
    for ending in _COMPRESSED:
        name = name.removesuffix(ending)
    return next((family for family, endings in _ENDINGS.items() if name.endswith(endings)), None)


def _tables(key: str, address: str, files: Collection[Path]) -> list[Path]:
    """The files with names of tables; plain text only if there is nothing else, and empty parts not beside others."""
    files = [file for file in files if not file.is_file() or file.stat().st_size] or [*files]
    known = [file for file in files if _family(file) is not None]
    found = [file for file in known if _family(file) != "text"] or known
    _one_kind(key, address, found)
    return sorted(found)


def _one_kind(key: str, address: str, files: Iterable[Path]) -> None:
    families = {family: file for file in files if (family := _family(file)) is not None}
    if len(families) > 1:
        ending = next(iter(families.values())).suffix
        folder = Path(address) if Path(address).is_dir() else Path(address).parent
        raise UserError(
            f"{key}={address} holds {' and '.join(sorted(families))} files; give a glob of one kind, e.g. "
            f"{folder / f'**/*{ending}'}"
        )


def _partition(path: Path) -> dict[str, str | None]:
    """The columns in the names of folders, as Hive writes them: %2D is -, and one word is a missing value."""
    pairs = (part.split("=", 1) for part in path.parts[:-1] if "=" in part)
    return {unquote(name): None if value == _HIVE_NULL else unquote(value) for name, value in pairs}


def _kind(file: Path) -> Kind:
    """By its first bytes, whatever its name."""
    with file.open("rb") as opened:
        start = opened.read(8)
    if start.startswith(b"PAR1"):
        return "parquet"
    if start.startswith((b"ARROW1", b"FEA1")) or file.suffix.lower() in _ENDINGS["Arrow"]:
        return "arrow"
    if start.startswith(b"PK") and zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if any(name.startswith(("xl/", "content.xml")) for name in archive.namelist()):
                return "excel"
    if start.startswith(b"\xd0\xcf\x11\xe0"):  # Excel before 2007
        return "excel"
    if file.suffix.lower() in _ENDINGS["Parquet"] and not start.isascii():
        return "parquet"  # its reader reports what is wrong with the file
    begin = head(file)
    for mark, what in _PACKED.items():
        if begin.startswith(mark) and (mark != b"BZh" or begin[4:10] == b"1AY&SY"):
            raise UserError(f"{file} is {what}, which is not read; give the table in it, unpacked or as CSV or Parquet")
    if begin[257:262] == b"ustar":
        raise UserError(f"{file} is an archive of tar; unpack it and give a table in it")
    text = begin.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:14].lower().startswith((b"<!doctype html", b"<html", b"<?xml", b"<table")):
        raise UserError(f"{file} is a web page or XML, not a table; an address may need a login: give the file itself")
    first = text[:1]
    return "jsonl" if first == b"{" else "json" if first == b"[" and _family(file) == "JSON" else "text"


def head(file: Path) -> bytes:
    """The first bytes of a file of text, up to the end of a line, whether it is compressed or not.

    Raises:
        UserError: it cannot be read.
    """
    if is_zstandard(file) and find_spec("pyarrow") is None:
        return _head_of_zstandard(file)
    with opened_text(file) as opened:
        try:
            start = opened.read(_HEAD)
        except (OSError, EOFError, zipfile.BadZipFile) as error:
            raise unreadable(file, error) from error
    cut = len(start) == _HEAD and start.rfind(b"\n") + 1
    return start[:cut] if cut else start


def is_zstandard(file: Path) -> bool:
    """Whether a file is packed with Zstandard, whatever its name."""
    with file.open("rb") as opened:
        return opened.read(4) == _ZSTANDARD


def _head_of_zstandard(file: Path) -> bytes:
    import polars as pl

    lines = pl.scan_csv(
        file, has_header=False, schema={"line": pl.String}, separator="\x1f", quote_char=None, glob=False
    )
    try:
        return "\n".join(lines.head(500).collect()["line"].fill_null("")).encode() + b"\n"
    except pl.exceptions.PolarsError as error:
        raise unreadable(file, error) from error


def _zstandard(file: Path) -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise UserError(f"{file}: what is unusual in it needs pyarrow (pip install pyarrow), or: zstd -d") from error
    return pyarrow.input_stream(str(file), compression="zstd")


@contextmanager
def opened_text(file: Path) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """The bytes of a file of text, without gzip or zip around them."""
    with file.open("rb") as opened:
        start = opened.read(4)
    if start.startswith(b"\x1f\x8b"):
        with gzip.open(file) as unpacked:
            yield unpacked
    elif start == _ZSTANDARD:
        with _zstandard(file) as unpacked:
            yield unpacked
    elif start.startswith(b"PK") and zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            names = [n for n in archive.namelist() if not n.endswith("/") and not _hidden(Path(n))]
            if len(names) != 1:
                raise UserError(
                    f"{file} holds {len(names)} files ({', '.join(names[:5])}); unpack it and give one of them"
                )
            try:
                member = archive.open(names[0])
            except (RuntimeError, NotImplementedError) as error:  # a password, or another method of packing
                raise UserError(
                    f"{file} cannot be unpacked here ({error}); unpack it and give the file in it"
                ) from error
            with member:
                yield member
    else:
        with file.open("rb") as plain:
            yield plain


def _fetched(key: str, address: str, cache_dir: Path) -> tuple[Path, list[Path]]:
    """Local copies of an address, fetched once for each state of the files there."""
    import fsspec

    try:
        system, path = fsspec.url_to_fs(address)
        if any(mark in path for mark in "*?[") and not address.startswith("http"):
            paths, base = system.glob(path), path[: path.index(next(m for m in path if m in "*?["))].rpartition("/")[0]
        elif address.startswith("http") or system.isfile(path):
            paths, base = [path], path.rpartition("/")[0]
        else:
            paths, base = system.find(path), path
        names = {file: Path(file.removeprefix(base).lstrip("/")) for file in paths}
        names = {file: name for file, name in names.items() if not _hidden(name)}
        folder = cache_dir / "fetched" / hashlib.sha256(address.encode()).hexdigest()[:12]
        if len(names) > 1:
            kept = set(_tables(key, address, names.values()))
            names = {file: name for file, name in names.items() if name in kept}
        if not names:
            raise UserError(f"{key}={address} names no file; check the address")
        order = sorted(names.items(), key=lambda item: item[1])
        return folder, [_copied(system, file, folder / name.parent, name.name) for file, name in order]
    except (ImportError, ValueError) as error:
        raise UserError(f"{key}={address} cannot be read ({error}); pip install 'fraudlab[data]'") from error
    except UserError:
        raise
    except Exception as error:  # every file system has errors of its own
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(f"{key}={address} cannot be read ({first}); check the address and your credentials") from error


def _copied(system: Any, file: str, folder: Path, name: str) -> Path:
    about = system.info(file)
    facts = [str(about.get(key)) for key in ("size", "etag", "ETag", "md5Hash", "LastModified", "updated", "mtime")]
    # A file without a version or time is fetched each time.
    state = hashlib.sha256("|".join(facts).encode()).hexdigest()[:8] if set(facts[1:]) != {"None"} else "now"
    copy = folder / state / (name.partition("?")[0] or "table")
    if state == "now" or not copy.is_file():
        with replacing(copy) as aside:
            system.get_file(file, str(aside))
    return copy


def empty(file: Path) -> UserError:
    """The error for a file without any row."""
    return UserError(f"{file} is empty; give a file with a header and rows")


def unreadable(file: Path | str, error: Exception) -> UserError:
    """The error for a file that its reader refuses."""
    first = str(error).strip().partition("\n")[0] or type(error).__name__
    return UserError(f"{file} cannot be read ({first}); it may be damaged or cut short: make or fetch it again")
