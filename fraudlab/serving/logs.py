"""The server's log: one JSON object a line on standard error, with a bound on repeated lines and no client's data.

A line has ``time`` (UTC), ``level``, ``logger``, ``message`` and what its ``extra`` names of :data:`FIELDS`. An
exception is told by its type and where it was raised: its text may hold values of a client's record.
"""

import json
import logging
import sys
import time
import traceback
from datetime import UTC, datetime
from typing import Any

from fraudlab.errors import UserError

FIELDS = (
    *("request_id", "traceparent", "key", "method", "path", "status", "milliseconds"),
    *("bundle", "workers", "suppressed"),
)
_WINDOW = 10.0  # seconds
_MOST = 10  # lines of one kind in a window
_MOST_KINDS = 1000
ACCESS = "fraudlab.serving.access"


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name in FIELDS if (value := getattr(record, name, None)) is not None}
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
            if isinstance(
                record.exc_info[1], UserError | OSError
            ):  # they say what is wrong with the server's own files
                line["reason"] = str(record.exc_info[1])
            line["raised_at"] = [f"{at.filename}:{at.lineno}" for at in traceback.extract_tb(record.exc_info[2])]
        return json.dumps(line, ensure_ascii=False, default=str)


class _Bound(logging.Filter):
    """Lets ten lines of one kind pass in ten seconds; the next one after that says how many were left out.

    Lines are of one kind where the same statement writes them. The access log is not bounded: it is asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[tuple[str, int], list[float]] = {}  # when the window began, lines in it

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == ACCESS:
            return True
        kind, now = (record.pathname, record.lineno), time.monotonic()
        if len(self._seen) > _MOST_KINDS:
            self._seen.clear()
        window = self._seen.setdefault(kind, [now, 0.0])
        if now - window[0] >= _WINDOW:
            if window[1] > _MOST:
                record.suppressed = int(window[1] - _MOST)
            window[:] = [now, 0.0]
        window[1] += 1
        return window[1] <= _MOST


def configure() -> None:
    """Send every logger of this process to the log; for each process of the server at its start."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    handler.addFilter(_Bound())
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(logging.WARNING)
    for name in list(logging.root.manager.loggerDict):
        if isinstance(logger := logging.root.manager.loggerDict[name], logging.Logger):
            logger.handlers.clear()
            logger.propagate = True
            logger.setLevel(logging.NOTSET)
    logging.getLogger("fraudlab").setLevel(logging.INFO)
    logging.captureWarnings(True)
