"""Labels of transactions from clients: over HTTP and from files, one form and one check for both."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from fraudlab.bundle.contract import Names, Refused, problem
from fraudlab.errors import UserError
from fraudlab.monitoring.labels import MOST_PLACES, Label
from fraudlab.serving.contract import is_time

FIELDS = ("id", "request_id", "position", "fraud", "source", "event_time", "reversal")
_NAMES = Names(FIELDS)
_REQUEST_ID = re.compile(r"[\w.-]{1,64}")
_MOST = 2**63
_TRUTHS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a CSV or Parquet file, for :func:`checked`; an empty cell is no value.

    Raises:
        UserError: the file cannot be read.
    """
    import polars as pl

    try:
        if path.suffix == ".csv":
            rows = pl.read_csv(path, infer_schema=False, glob=False).to_dicts()
        elif path.suffix == ".parquet":
            rows = pl.read_parquet(path, glob=False).to_dicts()
        else:
            raise UserError(f"file={path} must be named .csv or .parquet")
    except pl.exceptions.PolarsError as error:
        raise UserError(f"file={path} cannot be read: {str(error).strip().splitlines()[0]}") from error
    return [{name: _of_cell(name, value) for name, value in row.items() if value is not None} for row in rows]


def _of_cell(name: str, value: Any) -> Any:
    """What JSON would have in place of a cell."""
    if isinstance(value, date):  # a date and time is one too
        return value.isoformat()
    text = value.strip().lower() if isinstance(value, str) else ""
    if name in ("fraud", "reversal") and text in _TRUTHS:
        return _TRUTHS[text]
    if name == "position" and re.fullmatch(r"[+-]?(0|[1-9][0-9]{0,19})(\.0*)?", text):
        return int(text.partition(".")[0])
    return value


def checked(rows: Sequence[Any], source: str) -> list[Label]:
    """The labels that ``rows`` stand for.

    Args:
        rows: ``{"id" | "request_id" and "position", "fraud", "source", "event_time", "reversal"}`` each; of these
            ``source`` and ``event_time`` may lack, and ``fraud`` must where ``reversal`` is true.
        source: of rows that name none.

    Raises:
        Refused: a row is of another form; the message names it.
    """
    problems: list[dict[str, Any]] = []
    labels = []
    for position, row in enumerate(rows):
        if not isinstance(row, dict):
            problems.append(problem(position, None, "a label is an object with id and fraud"))
            continue
        wrong = list(_wrong(row))
        problems += [problem(position, field, text) for field, text in wrong]
        if not wrong:
            labels.append(_label(row, source))
    if problems:
        raise Refused(problems)
    return labels


def _wrong(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with a row: names of fields, and texts."""
    for name in row:
        if name not in FIELDS:
            near = _NAMES.near(name)
            yield name, f"unknown field; did you mean {near}?" if near else f"unknown field; use: {', '.join(FIELDS)}"
    if "id" in row:
        if "request_id" in row or "position" in row:
            yield "id", "name the transaction by id, or by request_id and position, not by both"
        text = isinstance(row["id"], str) and 0 < len(row["id"]) <= 64
        if not text and (not _is_integer(row["id"]) or not -_MOST <= row["id"] < _MOST):
            yield "id", "must be an integer of 64 bits, or a text of 1 to 64 characters"
    elif not {"request_id", "position"} <= row.keys():
        yield "id", "required: name the transaction by id, or by request_id and position"
    else:
        if not isinstance(row["request_id"], str) or not _REQUEST_ID.fullmatch(row["request_id"]):
            yield "request_id", "must be the request_id of an answer"
        if not _is_integer(row["position"]) or not 0 <= row["position"] < MOST_PLACES:
            yield "position", f"must be an integer from 0 to {MOST_PLACES - 1}"
    reversal = row.get("reversal", False)
    if not _is_truth(reversal):
        yield "reversal", "must be true or false"
    elif reversal and "fraud" in row:
        yield "fraud", "a reversal takes back what was said; leave fraud out"
    elif not reversal and not _is_truth(row.get("fraud")):
        yield "fraud", "required: true or false"
    source = row.get("source", "x")
    if not isinstance(source, str) or not 0 < len(source) <= 64:
        yield "source", "must be a text of 1 to 64 characters"
    time = row.get("event_time", "1970-01-01")
    if not isinstance(time, str) or not is_time(time):
        yield "event_time", "must be an ISO 8601 date and time, as 2018-08-07T09:00:00Z"


def _label(row: Mapping[str, Any], source: str) -> Label:
    return Label(
        row.get("id") if isinstance(row.get("id"), str) else int(row["id"]) if "id" in row else None,
        row.get("request_id"),
        int(row["position"]) if "position" in row else None,
        None if row.get("reversal") else bool(row["fraud"]),
        row.get("source", source),
        _microseconds(row["event_time"]) if "event_time" in row else None,
    )


def _microseconds(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _is_integer(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool) or (_is_integer(value) and value in (0, 1))
