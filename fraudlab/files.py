"""Write aside, then rename: a path holds either nothing, the old content or the whole new one. And locks on files."""

import errno
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
    import msvcrt

_LOCKED = 2**31 - 2  # the byte that Windows locks, which is one that nobody reads or writes
_HELD = (errno.EACCES, errno.EDEADLK)  # what Windows says where another process holds it
_PAUSE = 0.05  # seconds between two tries for it


@contextmanager
def replacing(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Give a sibling of ``path`` to write a file or a folder to; it takes the place of ``path`` on success.

    On any error the sibling is removed and ``path`` stays as it was. A folder must not exist yet, or be
    one that may be replaced whole. Without ``sync`` nobody waits until a file is on the disk: for one that is thrown
    away after a crash of the machine.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{uuid4().hex[:8]}.partial")
    try:
        yield aside
        if aside.is_dir():
            if path.exists():
                shutil.rmtree(path)
        elif sync:
            with aside.open("r+b") as written:  # Windows refuses to sync what cannot be written
                os.fsync(written.fileno())
        aside.replace(path)
    except BaseException as error:
        if aside.is_dir():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename is None:  # a full disk, without the path
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        # Polars and safetensors tell of a failing disk in exceptions of their own.
        if not isinstance(error, OSError) and (code := re.search(r"\(os error (\d+)\)", str(error))):
            number = int(code.group(1))
            raise OSError(number, os.strerror(number), str(path)) from error
        raise


def make_once(path: Path, write: Callable[[Path], Any]) -> None:
    """Let ``write`` make a file or folder that takes the place of ``path``, unless there is one.

    Of several processes that ask at the same time one makes it and the others wait.
    """
    if path.exists():
        return
    with _alone(path):
        if not path.exists():
            with replacing(path) as aside:
                write(aside)


def lock(descriptor: int, *, wait: bool = True) -> bool:
    """Hold an open file against other processes that ask for the same, until it is closed or this process ends.

    Args:
        descriptor: of the file.
        wait: until no other holds it.

    Returns:
        False where another one holds it.

    Raises:
        OSError: it cannot be held, as on a file system without locks.
    """
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
    before = os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        while True:
            os.lseek(descriptor, _LOCKED, os.SEEK_SET)
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
            except OSError as error:
                if error.errno not in _HELD:
                    raise  # as on a file system that has no locks, which would be tried for ever
                if not wait:
                    return False
                time.sleep(_PAUSE)
            else:
                return True
    finally:
        os.lseek(descriptor, before, os.SEEK_SET)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold other processes that come here with the same ``path`` until this one leaves."""
    path.parent.mkdir(parents=True, exist_ok=True)
    place = path.with_name(f".{path.name}.lock")
    while True:
        with place.open("w") as locked:
            lock(locked.fileno())
            if not _lies_at(place, locked):
                continue  # the one before took the file away, and others may hold a new one
            try:
                yield
            finally:
                with suppress(PermissionError):  # Windows keeps a file that is open
                    place.unlink()
            return


def _lies_at(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def write_text(path: Path, text: str) -> None:
    """Write ``text`` (UTF-8) to ``path`` in one step."""
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` to ``path`` as indented JSON in one step; NaN and infinity are refused.

    Raises:
        ValueError: ``value`` holds NaN or an infinity, which JSON cannot carry.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, 64 hex digits; read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
