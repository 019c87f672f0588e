"""From the journal to Parquet files by day, in the server's background: one file an hour and instance.

A complete file of the journal becomes a part, Parquet beside the journal; the parts of an hour that is over become the
hour's file. Each step writes aside and renames before it takes away what it read, so that a crash leaves rows once or
twice, never none; a row that is there already is not taken again.
"""

import logging
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from fraudlab.errors import UserError
from fraudlab.files import replacing
from fraudlab.monitoring import journal, labels
from fraudlab.monitoring.labels import dated
from fraudlab.monitoring.records import of_segment, together
from fraudlab.monitoring.rest import Rest

_log = logging.getLogger(__name__)
_ROW = ["request_id", "position", "scored_at"]
_ROWS = 2**14  # of a row group: all fields of so many rows are in memory at once
_HOUR = timedelta(hours=1)
_LATE = timedelta(minutes=2)  # after the hour, until the journal has no file any more that was begun in it
_REST = 3  # times as long as it worked on some hundred rows
_MOST_REST = 1.0  # seconds
_SHARE = 10  # times as long as the system let it wait for a processor, it lets others run
_BEHIND = 2**27  # bytes of the journal that wait: beyond them it waits no longer for others
_UPLOAD = timedelta(minutes=5)
_PLACES = ("day=*", f"{journal.FOLDER}/*", labels.FOLDER)


class Store:
    """The files of the record at ``folder``.

    Args:
        folder: of the record.
        days: that a day's files are kept, labels too.
        most_bytes: of all files of days; the oldest are deleted beyond it.
        upload: ``gs://`` address of a folder where files are copied to; None: nowhere.
        wait: called with seconds to rest for.
    """

    def __init__(
        self,
        folder: Path,
        days: int,
        most_bytes: int,
        upload: str | None,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._folder = folder
        self._days = days
        self._most_bytes = most_bytes
        self._wait = wait
        self._uploads = None
        if upload is not None:
            from fraudlab.bundle.cloud import Uploads  # beside ONNX Runtime, which few writers need to load

            self._uploads = Uploads("serving.record_upload", upload)
        self._uploaded = datetime.min.replace(tzinfo=UTC)

    def tend(self, now: datetime, *, whole: bool = False, held: bool = False) -> None:
        """Do what is due: parts, the files of hours, what is too old or too much, uploads.

        Args:
            now: the time, UTC.
            whole: make the files of hours that are not over, too: at the end.
            held: the caller holds the locks of all instances.
        """
        upload = self._uploads is not None and (whole or now - self._uploaded >= _UPLOAD)
        for instance in sorted(self._folder.glob(f"{journal.FOLDER}/*/")):
            lock = instance / journal.LOCK
            lock.touch(0o600)
            with journal.locked(lock) as alone:
                if alone or held:
                    self._parts(instance, whole=whole)
                    self._hours(instance, None if whole or upload else now)
        self._forget(now)
        if self._uploads is not None and upload:
            self._uploaded = now
            self._uploads.send(self._folder, [*self._folder.glob("day=*/*.parquet"), *labels.files(self._folder)])

    def _parts(self, instance: Path, *, whole: bool) -> None:
        patient = not whole and journal.waiting_bytes(instance) <= _BEHIND  # bursts wait, and become Parquet after them
        rest = Rest(self._wait, worked=_REST, waited=_SHARE if patient else 0, most=_MOST_REST)
        for path in sorted(instance.glob("*.jsonl")):
            with journal.locked(path) as complete:
                if not complete:
                    continue
                segment = journal.read(path)
                try:
                    if segment is None:
                        raise UserError(f"{path} is not a journal file")
                    rows = of_segment(segment, rest)
                except UserError as error:
                    _log.error("%s; the file is left aside", error)
                    path.replace(path.with_suffix(".broken"))
                    continue
                hours = rows["scored_at"].dt.strftime("%Y-%m-%d_%H")
                for hour in hours.unique():
                    _write(rows.filter(hours == hour).lazy(), instance / f"{hour}_{path.stem}.parquet")
                if rows.height < len(segment.lines):
                    path.replace(path.with_suffix(".broken"))  # for somebody to look at
                else:
                    path.unlink()

    def _hours(self, instance: Path, now: datetime | None) -> None:
        """Make hours' files of the parts, of those that are over at ``now``, or of all."""
        parts: dict[str, list[Path]] = {}
        for path in sorted(instance.glob(journal.PARTS)):
            parts.setdefault(path.name[:13], []).append(path)
        for hour, of_hour in parts.items():
            since = datetime.strptime(hour, "%Y-%m-%d_%H").replace(tzinfo=UTC)
            if now is not None and since <= now < since + _HOUR + _LATE:
                continue
            file = self._folder / f"day={hour[:10]}" / f"{instance.name}_{hour[11:]}.parquet"
            frames = [pl.scan_parquet(path, glob=False, hive_partitioning=False) for path in of_hour]
            if file.is_file():
                there = pl.scan_parquet(file, glob=False, hive_partitioning=False)
                known = there.select(_ROW).collect().lazy()
                frames = [there, *(frame.join(known, on=_ROW, how="anti") for frame in frames)]
            _write(together(frames), file)
            for path in of_hour:
                path.unlink()

    def _forget(self, now: datetime) -> None:
        oldest = now.date() - timedelta(days=self._days)
        days = {folder: day for folder in self._folder.glob("day=*") if (day := dated(folder.name[4:])) is not None}
        for folder in [folder for folder, day in days.items() if day < oldest]:
            with suppress(FileNotFoundError):  # another server with this folder deletes it, too
                shutil.rmtree(folder)
        labels.forget(self._folder, oldest)
        for path in leftovers(self._folder):
            with suppress(FileNotFoundError):  # another server deletes them, too
                if datetime.fromtimestamp(path.stat().st_mtime, UTC).date() < oldest:
                    path.unlink()
        files = [(day, path.stem[-2:], path) for folder, day in days.items() for path in folder.glob("*.parquet")]
        total = 0
        for _, _, path in sorted(files, reverse=True):
            with suppress(FileNotFoundError):
                total += path.stat().st_size
                if total > self._most_bytes:
                    path.unlink()
                    _log.warning("%s is deleted: the record is larger than serving.record_bytes", path)


def leftovers(folder: Path) -> list[Path]:
    """Files that nothing reads: what a crash left half written, and parts of the journal that cannot be read."""
    patterns = (f"{journal.FOLDER}/*/*.broken", *(f"{place}/.*.partial" for place in _PLACES))
    return [path for pattern in patterns for path in folder.glob(pattern)]


def _write(rows: pl.LazyFrame, path: Path) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with replacing(path) as aside:
        rows.sink_parquet(aside, row_group_size=_ROWS)
