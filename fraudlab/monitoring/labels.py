"""Labels as they were told, kept beside the record: nothing is overwritten, so what was known at any time can be asked.

``_labels/<day>_<teller>.jsonl`` has a line a label, by the day on which it was told (UTC).
"""

import logging
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import orjson

from fraudlab.files import lock
from fraudlab.monitoring.journal import CONTRACT

if TYPE_CHECKING:
    import polars as pl

_log = logging.getLogger(__name__)
FOLDER = "_labels"
MOST_PLACES = 2**31
"""What a position in a request is below."""
_NONE = type(None)
_KINDS = ((str, _NONE), (str, _NONE), (int, _NONE), (bool, _NONE), (str,), (int, _NONE), (int,))  # of a line
_KEY = ("transaction_id", "request_id", "position")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WHOLE = re.compile(r"[+-]?[0-9]+\.0*")
Clock = Literal["told_at", "event_time"]


@dataclass(frozen=True)
class Label:
    """What somebody says of one transaction.

    Attributes:
        id: of the transaction, an integer or a text; None where ``request_id`` and ``position`` name it.
        request_id: of the answer in which it was scored.
        position: in the list of that request, from 0.
        fraud: whether it was fraud; None to take back what was said before.
        source: who says so.
        event_time: when it was said, microseconds since 1970 in UTC; None: now.
    """

    id: int | str | None
    request_id: str | None
    position: int | None
    fraud: bool | None
    source: str
    event_time: int | None


def append(folder: Path, told: Sequence[Label], teller: str, now: datetime | None = None) -> None:
    """Keep labels, all or none; they are on the disk when this returns.

    Args:
        folder: of the record.
        told: labels; of transactions that the record lacks, too, which may come later.
        teller: which file: a server's instance, or a command.
        now: when they are told; None: now.

    Raises:
        OSError: they cannot be written.
    """
    now = datetime.now(UTC) if now is None else now
    told_at = (now - _EPOCH) // timedelta(microseconds=1)
    text = str if _ids_are_texts(folder) else _number
    lines = b"".join(
        orjson.dumps([None if label.id is None else text(label.id), *(getattr(label, name) for name in _SAID), told_at])
        + b"\n"
        for label in told
    )
    (folder / FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = _opened(folder / FOLDER / f"{now:%Y-%m-%d}_{teller}.jsonl")
    try:
        length = os.lseek(descriptor, 0, os.SEEK_END)
        if length and os.pread(descriptor, 1, length - 1) != b"\n":
            lines = b"\n" + lines  # what a crash cut off stays a line of its own
        try:
            done = 0
            while done < len(lines):
                done += os.write(descriptor, lines[done:])
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, length)
            raise
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    """The file at ``path``, locked, though another process puts a new one in its place meanwhile."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        lock(descriptor)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)


_SAID = ("request_id", "position", "fraud", "source", "event_time")


def _ids_are_texts(folder: Path) -> bool:
    """Whether all bundles have had them as texts; a record of an earlier version does not say."""
    try:
        contract = orjson.loads((folder / CONTRACT).read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return False
    types = contract.get("types", {})
    return any(role == "id" and types.get(name) == ["string"] for name, role in contract["roles"].items())


def _number(given: int | str) -> str:
    """A number as the record has it: pandas writes 7.0 where other rows have none."""
    text = str(given)
    return text.partition(".")[0] if _WHOLE.fullmatch(text) else text


def files(folder: Path) -> list[Path]:
    """The files of labels in the record at ``folder``, oldest first."""
    return sorted(folder.glob(f"{FOLDER}/*.jsonl"))


def forget(folder: Path, oldest: date) -> None:
    """Delete the labels that were told before that day."""
    for path in files(folder):
        if (day := dated(path.name[:10])) is not None and day < oldest:
            path.unlink(missing_ok=True)


def dated(text: str) -> date | None:
    """The day that part of a name says; None where it says none: somebody has put that file there."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def told(folder: str | Path) -> "pl.DataFrame":
    """All that was told, a row a label, in the order of telling.

    Returns:
        ``transaction_id`` (also where the label came by request id and position and the record knows the transaction),
        ``request_id``, ``position``, ``fraud`` (null: takes back what was said before), ``source``, ``event_time``
        (null: when it was told) and ``told_at``, both UTC. Lines that do not fit are left out and counted in the log.
    """
    import polars as pl

    folder = Path(folder)
    found = [row for path in files(folder) for line in path.read_bytes().split(b"\n") if (row := row_of(line))]
    rows = [row for row in found if _fits(row)]
    if left_out := len(found) - len(rows):
        _log.warning("%s has %d labels with impossible values; they are left out", folder / FOLDER, left_out)
    schema = {"transaction_id": pl.String, "request_id": pl.String, "position": pl.Int32, "fraud": pl.Boolean}
    schema |= {"source": pl.String, "event_time": pl.Int64, "told_at": pl.Int64}
    said = pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        pl.from_epoch(pl.col("event_time", "told_at"), time_unit="us").dt.replace_time_zone("UTC")
    )
    asked = said.filter(pl.col("transaction_id").is_null()).select("request_id", "position").unique()
    if not asked.is_empty():
        from fraudlab.monitoring import records

        place = ["request_id", "position"]
        named = records.settled(
            folder,
            lambda: (
                records.rows(folder)
                .select(*place, found="transaction_id")
                .join(asked.lazy(), on=place, how="semi")
                .unique()
                .collect()
            ),
        )
        alone = named.filter(~pl.struct("request_id", "position").is_duplicated())  # or nobody knows which is meant
        said = said.join(alone, on=["request_id", "position"], how="left", maintain_order="left")
        said = said.with_columns(pl.coalesce("transaction_id", "found").alias("transaction_id")).drop("found")
    return said.sort("told_at", maintain_order=True)


def row_of(line: bytes) -> list[Any] | None:
    """A line of a file of labels, by :func:`told`'s columns; None where it is none."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:  # cut off by a crash: whoever told it got no answer
        return None
    return row if type(row) is list and len(row) == len(_KINDS) else None


def _fits(row: list[Any]) -> bool:
    return all(type(value) in kinds for value, kinds in zip(row, _KINDS, strict=True)) and (row[2] or 0) < MOST_PLACES


def as_of(
    folder: str | Path, moment: datetime, *, clock: Clock = "told_at", taken_back: bool = False
) -> "pl.DataFrame":
    """What was known at ``moment``, a row a transaction that has a label: see :func:`known`.

    Args:
        folder: of the record.
        moment: UTC where it names no zone.
        clock: ``told_at``: what had reached this record by then, and was said to happen by then. ``event_time``: what
            was said to happen by then, whenever it was told: for labels that were filled in later.
        taken_back: with the transactions whose label was taken back, ``fraud`` null.
    """
    return known(told(folder), moment, clock=clock, taken_back=taken_back)


def known(
    said: "pl.DataFrame", moment: datetime, *, clock: Clock = "told_at", taken_back: bool = False
) -> "pl.DataFrame":
    """:func:`as_of`, of rows as :func:`told` gives them.

    What was said last of a transaction counts, by ``event_time`` and whoever said it; of two sayings of one moment,
    fraud. A saying that takes back leaves no label. One without an ``event_time`` that repeats the last of its source
    says nothing new, and the same said twice counts once.

    Returns:
        ``transaction_id``, ``request_id``, ``position``, ``fraud``, ``source``, ``event_time``, ``told_at`` (of what
        counts), ``revision`` (how many things were said of the transaction until then) and ``contradicted`` (whether
        sources, or one source at one moment, say otherwise of it).
    """
    import polars as pl

    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    by_id = pl.col("transaction_id").is_not_null()
    said = said.with_columns(
        *(pl.when(by_id).then(None).otherwise(pl.col(name)).alias(name) for name in ("request_id", "position")),
        untimed=pl.col("event_time").is_null(),
        event_time=pl.coalesce("event_time", "told_at"),
    ).filter(pl.col("event_time") <= moment)
    if clock == "told_at":
        said = said.filter(pl.col("told_at") <= moment)
    of_source = [*_KEY, "source"]
    same = [*of_source, "event_time", "fraud"]
    said = said.sort("event_time", "fraud", "told_at", nulls_last=False).unique(same, keep="first", maintain_order=True)
    before, first = pl.col("fraud").shift().over(of_source), pl.int_range(pl.len()).over(of_source) == 0
    said = said.filter(~(pl.col("untimed") & before.eq_missing(pl.col("fraud")) & ~first))
    last_words = said.group_by(of_source).last().group_by(_KEY).agg(apart=pl.col("fraud").n_unique() > 1)
    at_once = said.group_by([*of_source, "event_time"]).agg(pl.col("fraud").n_unique() > 1)
    at_once = at_once.group_by(_KEY).agg(at_once=pl.col("fraud").any())
    counted = said.group_by(_KEY, maintain_order=True).agg(
        pl.col("fraud", "source", "event_time", "told_at").last(), revision=pl.len().cast(pl.Int32)
    )
    joined = counted.join(last_words, on=_KEY, nulls_equal=True).join(at_once, on=_KEY, nulls_equal=True)
    return (
        joined.with_columns(contradicted=pl.col("apart") | pl.col("at_once"))
        .drop("apart", "at_once")
        .filter(pl.col("fraud").is_not_null() | taken_back)
        .sort(_KEY)
    )


def of_several(rows: "pl.LazyFrame", known: "pl.DataFrame") -> "pl.DataFrame":
    """Labels whose ``request_id`` and ``position`` several transactions have: nobody can say which is meant."""
    import polars as pl

    place = ["request_id", "position"]
    by_place = known.filter(pl.col("transaction_id").is_null())
    if by_place.is_empty():  # spares a look at all rows
        return by_place
    meant = rows.select(place).join(by_place.lazy(), on=place, how="semi").collect()
    return by_place.join(meant.filter(meant.is_duplicated()), on=place, how="semi")


def with_labels(rows: "pl.LazyFrame", known: "pl.DataFrame") -> "pl.LazyFrame":
    """Rows of the record, with ``fraud``, ``source``, ``event_time`` and ``told_at`` of what is known, or null.

    A label of :func:`of_several` is none of any.
    """
    import polars as pl

    told = ("fraud", "source", "event_time", "told_at")
    by_id = known.filter(pl.col("transaction_id").is_not_null()).select("transaction_id", *told)
    place = ["request_id", "position"]
    others = known.filter(pl.col("transaction_id").is_null()).join(of_several(rows, known), on=place, how="anti")
    by_place = others.select(*place, *(pl.col(name).alias(f"{name}_") for name in told))
    joined = rows.join(by_id.lazy(), on="transaction_id", how="left", maintain_order="left")
    joined = joined.join(by_place.lazy(), on=place, how="left", maintain_order="left")
    here = pl.col("told_at").is_not_null()
    both = [pl.when(here).then(name).otherwise(f"{name}_").alias(name) for name in told]
    return joined.with_columns(both).drop(f"{name}_" for name in told)
