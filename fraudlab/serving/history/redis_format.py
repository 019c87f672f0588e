"""What a history in Redis keeps, byte by byte.

All keys begin with the history's name and a colon:

    meta            JSON: format and layout
    k<n>:<value>    the events of a value of the n-th key, one string: records of one size by time, then id
    t:<id>          a row: its label, then what its client sent
    l:<id>          JSON: what was said of its label
    s:<id>          hash: how many requests sent the row again of late, and whether the one that brought it failed
    q:<request>     hash: position in a request to id; it expires
    d:<day>, queue  ids of the rows of a day, and the days, to forget them by
    labels, frauds  how many labels become known on a day, and how many of them are frauds, as sums over ranges of days
    newest, forgotten, next

A record is time, id, known, fraud, numbers, categories. Times are float64, exact up to 2^53 microseconds. An integer id
is kept so that its bytes sort as it does; of a text id, and of a category, 16 bytes of BLAKE2b stand in its place, and
the text is in the row. A label that counts its delay after the row has NaN for ``known``.
"""

import re
import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fraudlab.features.live import DAY, Earlier, Event, Layout
from fraudlab.serving.history import words
from fraudlab.serving.history.store import Id

FORMAT = 1
MOST_TIME = 2**53
MOST_DAYS = 2**17
NOT_SAID = struct.pack("<dB", float("nan"), 0)
_SIGN = 2**63


class Packed:
    """How the rows of a layout are packed.

    Attributes:
        width: bytes of an id.
        record: dtype of a record.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.width = 16 if layout.text_ids else 8
        self.record = np.dtype(
            [
                ("time", "<f8"),
                ("id", f"V{self.width}"),
                ("known", "<f8"),
                ("fraud", "u1"),
                ("numbers", "<i8", (len(layout.numbers),)),
                ("categories", words.TYPE, (len(layout.categories),)),
            ]
        )

    def id(self, number: Id) -> bytes:
        """The bytes of an id that :meth:`word` does not hold."""
        return words.digest(number) if isinstance(number, str) else (number + _SIGN).to_bytes(8)

    def id_in_text(self, text: str) -> bytes:
        """The bytes of an id that stands in a text; nothing where it cannot be one."""
        if self.layout.text_ids:
            return self.id(text)
        number = int(text) if re.fullmatch("-?[0-9]{1,19}", text, re.ASCII) else _SIGN
        return self.id(number) if -_SIGN <= number < _SIGN and str(number) == text else b""

    def id_of(self, packed: bytes, row: bytes) -> Id:
        """An id, from its bytes and its row."""
        if not self.layout.text_ids:
            return int.from_bytes(packed) - _SIGN
        (length,) = struct.unpack_from("<I", row, 17)
        return row[21 : 21 + length].decode("utf-8", "surrogatepass")

    def rest(self, event: Event) -> bytes:
        """Numbers and categories."""
        numbers = struct.pack(f"<{len(event.numbers)}q", *event.numbers)
        return numbers + b"".join(map(words.category, event.categories))

    def sent(self, event: Event, rest: bytes) -> bytes:
        """A row, without its label."""
        word = words.bytes_of(event.id) if isinstance(event.id, str) else b""
        keys = (b"" if key is None else words.bytes_of(key) for key in event.keys)
        lengths = (0 if key is None else 1 for key in event.keys)
        packed = b"".join(struct.pack("<I", len(key) + more) + key for key, more in zip(keys, lengths, strict=True))
        return struct.pack("<dI", event.time, len(word)) + word + packed + rest

    def earlier(self, events: bytes, delay: int) -> Earlier:
        """Records as features read them."""
        records = np.frombuffer(events, self.record)
        time = records["time"].astype(np.int64)
        known = records["known"]
        unsaid = np.isnan(known)
        return Earlier(
            time,
            np.where(unsaid, time + delay, np.where(unsaid, 0, known).astype(np.int64)),
            records["fraud"].astype(np.int64),
            list(np.ascontiguousarray(records["numbers"].T)),
            [words.kept(values) for values in records["categories"].T],
        )


def label(known: int | None, fraud: int) -> bytes:
    """The label as rows and records have it."""
    return NOT_SAID[:8] + bytes([fraud]) if known is None else struct.pack("<dB", known, fraud)


def label_of(row: bytes) -> tuple[int | None, int, int]:
    """When the label of a row was said, the label, and the row's time."""
    known, fraud, time = struct.unpack_from("<dBd", row)
    return None if known != known else int(known), fraud, int(time)


def word(number: Id | None) -> bytes:
    """The text of an id; nothing where it is an integer."""
    return words.bytes_of(number) if isinstance(number, str) else b""


def key(value: Id | None) -> bytes:
    """A key as the script takes it; nothing where it is missing."""
    return b"" if value is None else b"=" + words.bytes_of(value)


def day_of(time: int) -> int:
    return time // DAY


def ranges(days: NDArray[np.int64], fraud: NDArray[np.int64]) -> tuple[dict[int, int], dict[int, int]]:
    """The hashes ``labels`` and ``frauds``: sums over ranges of days, as a Fenwick tree has them."""
    labels: dict[int, int] = {}
    frauds: dict[int, int] = {}
    unique, inverse = np.unique(days, return_inverse=True)
    counts = np.bincount(inverse), np.bincount(inverse, weights=fraud)
    for day, number, of_fraud in zip(unique.tolist(), *(each.tolist() for each in counts), strict=True):
        i = max(1, min(day + MOST_DAYS + 1, 2 * MOST_DAYS))
        while i <= 2 * MOST_DAYS:
            labels[i] = labels.get(i, 0) + int(number)
            frauds[i] = frauds.get(i, 0) + int(of_fraud)
            i += i & -i
    return labels, frauds


def ids(values: Sequence[Id]) -> bytes:
    """The bytes of many ids."""
    if values and isinstance(values[0], str):
        return b"".join(words.digest(str(value)) for value in values)
    return (np.array(values, np.int64).view(np.uint64) ^ np.uint64(_SIGN)).astype(">u8").tobytes()
