"""API keys: read from a file or the environment, compared in constant time."""

import hmac
import os
from hashlib import sha256
from pathlib import Path

from fraudlab.errors import UserError

_VARIABLE = "FRAUDLAB_API_KEY"


class Keys:
    """The keys that open the server; none means that it is open to all.

    Args:
        keys: of at least 16 characters each.
    """

    def __init__(self, keys: list[str]) -> None:
        if short := [key for key in keys if len(key) < 16]:
            raise UserError(f"{len(short)} API key(s) have fewer than 16 characters; make one: openssl rand -hex 32")
        self._digests = [sha256(key.encode()).digest() for key in keys]

    @classmethod
    def read(cls, path: str | None) -> "Keys":
        """The lines of the file ``path``, or else the environment's FRAUDLAB_API_KEY.

        Raises:
            UserError: a key is short, or the file holds none.
        """
        if path is None:
            return cls([os.environ[_VARIABLE]] if os.environ.get(_VARIABLE) else [])
        keys = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
        if not keys:
            raise UserError(f"serving.api_key_file={path} holds no key; write one a line: openssl rand -hex 32")
        return cls(keys)

    @property
    def needed(self) -> bool:
        """Whether a request must carry a key."""
        return bool(self._digests)

    def open(self, given: bytes | None) -> bool:
        """Whether ``given``, a header's value, opens the server. Digests hide a key's length from the clock too."""
        if not self.needed:
            return True
        digest = sha256(given or b"").digest()
        matches = [hmac.compare_digest(digest, key) for key in self._digests]  # all of them, whichever matches
        return any(matches)
