"""Take persons out of the record and its labels."""

import fcntl
import hmac
import re
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from fraudlab.errors import UserError
from fraudlab.files import replacing
from fraudlab.monitoring import journal, labels, records
from fraudlab.monitoring.store import Store

_HASH = re.compile(r"[0-9a-f]{64}")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_PATIENCE = 60.0  # seconds for a server that is making Parquet
_NO_END = 2**62


@dataclass
class Erased:
    """What was taken out.

    Attributes:
        rows: of the record.
        labels: that were told.
        transactions: their ids.
    """

    rows: int = 0
    labels: int = 0
    transactions: set[str] = field(default_factory=set)


def meant(ids: Collection[str], key: bytes | None) -> set[str]:
    """Values that stand for ``ids`` in a record: themselves, and, with the key, what was hashed of them."""
    found = set(ids)
    if key is not None:
        for text in ids:
            forms = {text, str(int(float(text))), str(float(text))} if _NUMBER.fullmatch(text) else {text}
            found |= {hmac.digest(key, form.encode(), "sha256").hex() for form in forms}
    return found


def erase(folder: Path, values: Collection[str]) -> Erased:
    """Take out the rows whose transaction id, or a field of 64 hexadecimal digits, is among ``values``, and labels.

    Files are written anew and renamed; one that loses all rows stays, empty, so that its copy in a cloud is replaced.

    Raises:
        UserError: there is no record, or a server holds rows of them in a file that it still writes.
    """
    if not folder.is_dir():
        raise UserError(f"no records at {folder}; give the folder that serving.record_to names")
    found = Erased(transactions=set(values))
    places: set[tuple[str, int]] = set()
    with _still(folder):
        Store(folder, 10**5, _NO_END, None).tend(datetime.now(UTC), whole=True, held=True)
        for path in sorted(folder.glob("day=*/*.parquet")):
            rows = pl.scan_parquet(path, glob=False, hive_partitioning=False)
            theirs = _are(rows, values)
            gone = rows.filter(theirs).select("transaction_id", "request_id", "position").collect()
            if gone.is_empty():
                continue
            with replacing(path) as aside:
                rows.filter(~theirs).sink_parquet(aside)
            found.rows += gone.height
            found.transactions |= set(gone["transaction_id"].drop_nulls())
            places |= set(gone.select("request_id", "position").iter_rows())
    for path in labels.files(folder):
        found.labels += _from_labels(path, found.transactions, places)
    for segment in journal.segments(folder):
        rows = records.of_segment(segment).lazy()
        if not rows.filter(_are(rows, values)).collect().is_empty():
            raise UserError(
                f"{found.rows:,} rows are gone, but a server still writes a file with others of them, {segment.path}; "
                "run this again in two minutes"
            )
    return found


def _are(rows: pl.LazyFrame, values: Collection[str]) -> pl.Expr:
    fields = rows.collect_schema()["input"]
    assert isinstance(fields, pl.Struct)
    hashes = [value for value in values if _HASH.fullmatch(value)]
    texts = [each.name for each in fields.fields if each.dtype == pl.String] if hashes else []
    own = pl.col("transaction_id").is_in(list(values))
    hashed = [pl.col("input").struct.field(name).is_in(hashes) for name in texts]
    return pl.any_horizontal(own.fill_null(False), *(each.fill_null(False) for each in hashed))


def _from_labels(path: Path, transactions: Collection[str], places: Collection[tuple[str, int]]) -> int:
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # a server that tells labels meanwhile waits, then finds the new file
        lines = file.read().splitlines(keepends=True)
        kept = []
        for line in lines:
            row = labels.row_of(line)
            if row is None or not (row[0] in transactions or (row[1], row[2]) in places):
                kept.append(line)
        if len(kept) < len(lines):
            with replacing(path) as aside:
                aside.touch(0o600)
                aside.write_bytes(b"".join(kept))
    return len(lines) - len(kept)


@contextmanager
def _still(folder: Path) -> Iterator[None]:
    """Hold off the servers that make Parquet in the folder."""
    until = time.monotonic() + _PATIENCE
    with ExitStack() as held:
        for instance in sorted(folder.glob(f"{journal.FOLDER}/*/")):
            lock = instance / journal.LOCK
            lock.touch(0o600)
            while not held.enter_context(journal.locked(lock)):
                if time.monotonic() > until:
                    raise UserError(f"a server is busy with {instance}; run this again later")
                time.sleep(0.1)
        yield
