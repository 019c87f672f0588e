"""Take persons out of the record and its labels."""

import hmac
import re
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import orjson
import polars as pl

from fraudlab.errors import UserError
from fraudlab.files import lock, replacing
from fraudlab.monitoring import journal, labels, records
from fraudlab.monitoring.store import Store, leftovers

_HASH = re.compile(r"[0-9a-f]{64}")
_WHOLE = re.compile(r"([+-]?[0-9]{1,40})(\.0*)?")
_NUMBER = re.compile(r"[+-]?[0-9]{1,400}(\.[0-9]{0,400})?")
_PATIENCE = 60.0  # seconds for a server that is making Parquet
_NO_END = 2**62


@dataclass
class Erased:
    """What was taken out.

    Attributes:
        rows: of the record.
        labels: that were told.
        leftovers: files that were deleted: what a crash left, and parts of the journal that cannot be read.
        transactions: their ids.
    """

    rows: int = 0
    labels: int = 0
    leftovers: int = 0
    transactions: set[str] = field(default_factory=set)


class _Hashes:
    """What stands for ids in fields that are keyed hashes: hashes among them and, with the key, those made of them."""

    def __init__(self, folder: Path, ids: Collection[str], key: bytes | None) -> None:
        try:
            self._kinds = orjson.loads((folder / journal.CONTRACT).read_bytes()).get("types", {})
        except (OSError, orjson.JSONDecodeError):
            self._kinds = {}
        self._ids, self._key = ids, key
        self._given = {text for text in ids if _HASH.fullmatch(text)}

        self._of: dict[str, list[str]] = {}

    def of(self, name: str) -> list[str]:
        if name not in self._of:
            found = set(self._given)
            if self._key is not None:
                forms = {form for text in self._ids for form in _forms(text, self._kinds.get(name))}
                found |= {hmac.digest(self._key, form.encode(), "sha256").hex() for form in forms}
            self._of[name] = list(found)
        return self._of[name]


def _forms(text: str, kinds: Collection[str] | None) -> set[str]:
    """As a value that is written so is hashed in a field that had these types; None: nobody knows which."""
    whole = _WHOLE.fullmatch(text)
    integer = str(int(whole[1])) if whole else text
    if kinds is None:  # 12 is one card in all of them; 0012 might be another than 12
        kinds = ("string", "integer", "number") if integer == text else ("string",)
    found = {"integer": integer, "number": str(float(text)) if _NUMBER.fullmatch(text) else text}
    return {found.get(kind, text) for kind in kinds}


def erase(folder: Path, ids: Collection[str], key: bytes | None = None) -> Erased:
    """Take out the rows of these ids, and their labels.

    Files are written anew and renamed; one that loses all rows stays, empty, so that its copy in a cloud is replaced.
    What a crash left half written, and parts of the journal that cannot be read, may hold anybody: they are deleted.

    Args:
        folder: of the record.
        ids: of transactions, keyed hashes, and, with ``key``, what fields that are recorded as such had, as text.
        key: that the servers hash with.

    Raises:
        UserError: there is no record, or a server holds rows of them in a file that it still writes.
    """
    if not folder.is_dir():
        raise UserError(f"no records at {folder}; give the folder that serving.record_to names")
    hashes = _Hashes(folder, ids, key)
    found = Erased(transactions=set(ids))
    places: set[tuple[str, int]] = set()
    with _still(folder):
        # It does not rest: servers wait for these locks.
        Store(folder, 10**5, _NO_END, None, wait=lambda _: None).tend(datetime.now(UTC), whole=True, held=True)
        for path in leftovers(folder):
            path.unlink(missing_ok=True)
            found.leftovers += 1
        for path in sorted(folder.glob("day=*/*.parquet")):
            rows = pl.scan_parquet(path, glob=False, hive_partitioning=False)
            theirs = _are(rows, ids, hashes)
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
        for segment in journal.segments(folder):  # nobody makes Parquet of them meanwhile
            rows = records.of_segment(segment).lazy()
            if not rows.filter(_are(rows, ids, hashes)).collect().is_empty():
                raise UserError(
                    f"{found.rows:,} rows are gone, but a server still writes a file with others of them, "
                    f"{segment.path}; run this again in two minutes"
                )
    return found


def _are(rows: pl.LazyFrame, ids: Collection[str], hashes: _Hashes) -> pl.Expr:
    fields = rows.collect_schema()["input"]
    assert isinstance(fields, pl.Struct)
    texts = [each.name for each in fields.fields if each.dtype == pl.String]
    own = pl.col("transaction_id").is_in(list(ids))
    hashed = [pl.col("input").struct.field(name).is_in(hashes.of(name)) for name in texts]
    return pl.any_horizontal(own.fill_null(False), *(each.fill_null(False) for each in hashed))


def _from_labels(path: Path, transactions: Collection[str], places: Collection[tuple[str, int]]) -> int:
    with path.open("rb") as file:
        lock(file.fileno())  # a server that tells labels meanwhile waits, then finds the new file
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
            place = instance / journal.LOCK
            place.touch(0o600)
            while not held.enter_context(journal.locked(place)):
                if time.monotonic() > until:
                    raise UserError(f"a server is busy with {instance}; run this again later")
                time.sleep(0.1)
        yield
