"""Several encoders of one table's columns as one, for models that read the same columns in different ways."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fraudlab.features.encoder import Arrays, TableEncoder

if TYPE_CHECKING:  # a record is encoded without it
    import polars as pl

_FOLDER = "encoders"  # of all parts but the first


class JoinedEncoder:
    """Encoders side by side: the ids of each, then the numbers of each.

    It is used as a :class:`fraudlab.features.encoder.TableEncoder` is. A column that several parts read occurs as often
    in ``categorical``, ``numeric`` and ``numeric_columns``. The
    first part's arrays are the first columns of all.

    Args:
        parts: two or more.
    """

    def __init__(self, parts: Sequence[TableEncoder]) -> None:
        self.parts = tuple(parts)
        self.categorical = tuple(name for part in parts for name in part.categorical)
        self.numeric = tuple(name for part in parts for name in part.numeric)
        self.cardinalities = [count for part in parts for count in part.cardinalities]
        self.num_numeric = sum(part.num_numeric for part in parts)
        self.numeric_columns = [name for part in parts for name in part.numeric_columns]
        self.never_missing = frozenset.intersection(*(part.never_missing for part in parts))

    def without(self, names: Collection[str]) -> "JoinedEncoder":
        """As :meth:`fraudlab.features.encoder.TableEncoder.without`."""
        return JoinedEncoder([part.without(names) for part in self.parts])

    def transform(self, frame: "pl.DataFrame", into: Arrays | None = None) -> Arrays:
        """As :meth:`fraudlab.features.encoder.TableEncoder.transform`."""
        made = into or Arrays(
            np.empty((len(frame), len(self.categorical)), np.int64),
            np.empty((len(frame), self.num_numeric), np.float32),
        )
        for part, arrays in zip(self.parts, split(self, made), strict=True):
            part.transform(frame, arrays)
        return made

    def encode(self, record: Mapping[str, Any]) -> Arrays:
        """As :meth:`fraudlab.features.encoder.TableEncoder.encode`."""
        categorical, numeric = zip(*(part.encode(record) for part in self.parts), strict=True)
        return Arrays(np.concatenate(categorical, axis=1), np.concatenate(numeric, axis=1))

    @property
    def fingerprint(self) -> str:
        """16 hex digits that differ between encoders that give other arrays."""
        return hashlib.sha256(" ".join(part.fingerprint for part in self.parts).encode()).hexdigest()[:16]

    def save(self, folder: Path) -> None:
        """Write the first part into ``folder``, the others into ``encoders/<number>`` in it."""
        self.parts[0].save(folder)
        for number, part in enumerate(self.parts[1:], 1):
            part.save(folder / _FOLDER / str(number))


Encoder = TableEncoder | JoinedEncoder


def joined(parts: Sequence[TableEncoder]) -> Encoder:
    """One encoder of the parts; a single one is itself."""
    return parts[0] if len(parts) == 1 else JoinedEncoder(parts)


def load_encoder(folder: Path) -> Encoder:
    """What :meth:`TableEncoder.save` or :meth:`JoinedEncoder.save` wrote.

    Raises:
        UserError: a file is missing or broken, or of another format.
    """
    others = len(list((folder / _FOLDER).glob("*")))
    return joined(
        [TableEncoder.load(folder), *(TableEncoder.load(folder / _FOLDER / str(i + 1)) for i in range(others))]
    )


def parts_of(encoder: Encoder) -> tuple[TableEncoder, ...]:
    """The encoders that it is joined of; one that is not joined is its only part."""
    return encoder.parts if isinstance(encoder, JoinedEncoder) else (encoder,)


def split(encoder: Encoder, arrays: Arrays) -> list[Arrays]:
    """What each part gave of ``arrays``, which the encoder gave; views."""
    found, ids, numbers = [], 0, 0
    for part in parts_of(encoder):
        next_ids, next_numbers = ids + len(part.categorical), numbers + part.num_numeric
        found.append(Arrays(arrays.categorical[:, ids:next_ids], arrays.numeric[:, numbers:next_numbers]))
        ids, numbers = next_ids, next_numbers
    return found
