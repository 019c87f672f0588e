"""Fixed bytes in place of texts: what a store keeps of a category."""

import hashlib
from collections.abc import Hashable
from typing import Any

from numpy.typing import NDArray

_WIDTH = 16
TYPE = f"V{_WIDTH}"
NO_CATEGORY = bytes(_WIDTH)


def bytes_of(value: int | str) -> bytes:
    return str(value).encode("utf-8", "surrogatepass")


def digest(text: str) -> bytes:
    return hashlib.blake2b(bytes_of(text), digest_size=_WIDTH).digest()


def category(value: Hashable) -> bytes:
    """What stands for a category."""
    return NO_CATEGORY if value is None else digest(str(value))


def kept(values: NDArray[Any]) -> list[bytes | None]:
    """Categories of records, None where they are missing."""
    return [None if value == NO_CATEGORY else value for value in values.tolist()]


def as_kept(values: tuple[Hashable, ...]) -> tuple[bytes | None, ...]:
    """Categories of the present row, as :func:`kept` has those of the past."""
    return tuple(None if value is None else category(value) for value in values)
