"""A record at ``gs://``, where all instances copy theirs, as a folder of this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from fraudlab.bundle.cloud import fetch
from fraudlab.monitoring.labels import dated
from fraudlab.monitoring.records import in_utc


@contextmanager
def fetched(address: str, start: datetime | None, stop: datetime | None) -> Iterator[Path]:
    """The folder of the record at ``address``: itself, or for a while a copy of the days from ``start`` to ``stop``.

    Raises:
        UserError: the bucket cannot be read.
    """
    if not address.startswith("gs://"):
        yield Path(address)
        return
    first, last = (None if moment is None else in_utc(moment).date() for moment in (start, stop))

    def wanted(name: str) -> bool:
        folder, _, file = name.partition("/")
        day = dated(folder.removeprefix("day="))
        if day is None or not folder.startswith("day=") or not file.endswith(".parquet"):
            return False
        return (first is None or day >= first) and (last is None or day <= last)

    with TemporaryDirectory(prefix="fraudlab-") as folder:
        fetch(address, Path(folder) / "record", wanted)
        yield Path(folder) / "record"
