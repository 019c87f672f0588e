"""API keys: read from a file or the environment, with names and scopes, and compared in constant time."""

import difflib
import hmac
import logging
import os
import re
import stat
import time
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from fraudlab.errors import UserError

VARIABLE = "FRAUDLAB_API_KEY"
SCOPES = ("score", "label", "read", "metrics")
_LEAST = 16  # characters of a key
_NAME = re.compile(r"[\w.-]{1,64}")
_LOOK_AGAIN = 0.5  # seconds between two looks at the file
_FORM = "write name:scopes:key, one a line, with scopes of " + ", ".join(SCOPES)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Key:
    """One key.

    Attributes:
        name: of whoever has it; stands in logs and metrics.
        scopes: what it may ask for.
        digest: SHA-256 of the key itself.
    """

    name: str
    scopes: frozenset[str]
    digest: bytes


EVERYONE = Key("", frozenset(SCOPES), b"")
"""Who asks a server that needs no key."""


class Keys:
    """The keys of a server; without any it answers everybody.

    A line of the file, or of the environment's ``FRAUDLAB_API_KEY``, is ``name:scopes:key``, ``name:key`` or ``key``.
    Blank lines and those that begin with # are left out. A key of the file without scopes may only ask for scores. The
    environment has a single operator's key: without scopes it may ask for everything.

    Args:
        path: of the file; None for the environment.

    Raises:
        UserError: the file cannot be used; the message names the line.
    """

    def __init__(self, path: str | None) -> None:
        self._path = None if path is None else Path(path)
        self._look_at = 0.0
        self._state = self._state_of_file()
        self._keys = self._read()

    @property
    def needed(self) -> bool:
        """Whether a request must carry a key."""
        return bool(self._keys)

    def find(self, given: Iterable[bytes]) -> Key | None:
        """The first key that is among ``given``, the values that a request carries; None where none is."""
        self._reload_if_changed()
        if not self.needed:
            return EVERYONE
        for value in given:
            digest = sha256(value).digest()  # hides a key's length from the clock too
            matches = [key for key in self._keys if hmac.compare_digest(digest, key.digest)]  # compares with all
            if matches:
                return matches[0]
        return None

    def _reload(self) -> None:
        """Read the file again; where it cannot be used, the keys stay as they are and the log says why."""
        self._state = self._state_of_file()
        try:
            self._keys = self._read()
        except (UserError, OSError) as error:
            _log.error("the keys stay as they were: %s", error)
        else:
            _log.info("read %d keys again", len(self._keys))

    def _reload_if_changed(self) -> None:
        if self._path is None or time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + _LOOK_AGAIN
        if self._state_of_file() != self._state:
            self._reload()

    def _state_of_file(self) -> tuple[int, ...] | None:
        if self._path is None:
            return None
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode

    def _read(self) -> list[Key]:
        if self._path is None:
            return _parsed(os.environ.get(VARIABLE, ""), VARIABLE, frozenset(SCOPES))
        where = f"serving.api_key_file={self._path}"
        if self._path.stat().st_mode & stat.S_IWOTH:
            raise UserError(f"{where} can be written by every user of this machine; type: chmod 600 {self._path}")
        try:
            text = self._path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise UserError(f"{where} is not UTF-8 text; {_FORM}") from None
        keys = _parsed(text, where, frozenset(["score"]))
        if not keys:
            raise UserError(f"{where} has no key; write one per line: openssl rand -hex 32")
        return keys


def _parsed(text: str, where: str, scopes: frozenset[str]) -> list[Key]:
    keys: dict[bytes, Key] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip().removeprefix("\ufeff")
        if not line or line.startswith("#"):
            continue
        key = _key(line, f"{where}, line {number}", f"key_{len(keys) + 1}", scopes)
        if key.digest in keys:
            raise UserError(f"{where}, line {number}: this is the key of {keys[key.digest].name} again; remove one")
        keys[key.digest] = key
    return list(keys.values())


def _key(line: str, where: str, name: str, scopes: frozenset[str]) -> Key:
    *about, secret = (part.strip() for part in line.split(":", 2))
    if about:
        name = about[0]
        if not _NAME.fullmatch(name):
            raise UserError(f"{where}: a name has 1 to 64 letters, digits, dots and hyphens; {_FORM}")
    if len(about) == 2 and about[1]:
        scopes = frozenset(scope.strip() for scope in about[1].split(","))
        for unknown in sorted(scopes.difference(SCOPES)):
            near = difflib.get_close_matches(unknown, SCOPES, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UserError(f"{where}: there is no scope {unknown!r}{hint} There are: {', '.join(SCOPES)}")
    if len(secret) < _LEAST or any(character.isspace() for character in secret):
        raise UserError(f"{where}: a key has at least {_LEAST} characters and no blank; make one: openssl rand -hex 32")
    return Key(name, scopes, sha256(secret.encode()).digest())
