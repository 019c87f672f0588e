"""Answers that stay the same, and the files of the pages ``/`` and ``/docs``, some of the package fastapi-offline."""

import gzip
from collections.abc import Mapping
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

_OWN = Path(__file__).parent / "page"
_TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".svg": b"image/svg+xml",
}
_STRICT = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    b"form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_SWAGGER = b"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"

Headers = list[tuple[bytes, bytes]]


class FixedAnswer(NamedTuple):
    """An answer that is always the same, whole and compressed.

    Attributes:
        kind: its media type.
        plain: its content.
        zipped: the same by gzip.
        tag: changes with the content.
        headers: what else the answer says.
    """

    kind: bytes
    plain: bytes
    zipped: bytes
    tag: bytes
    headers: Headers

    @classmethod
    def of(cls, content: bytes, kind: bytes, headers: Headers) -> "FixedAnswer":
        tag = b'"%b"' % sha256(content).hexdigest()[:16].encode()
        return cls(kind, content, gzip.compress(content, 6, mtime=0), tag, headers)

    def answer(self, asked: Mapping[bytes, bytes]) -> tuple[int, bytes, Headers]:
        """Status, body and headers for a request with the headers ``asked``; 304 where it has the content."""
        about = [*self.headers, (b"etag", self.tag), (b"vary", b"Accept-Encoding")]
        if self.tag in asked.get(b"if-none-match", b"").replace(b"W/", b"").replace(b" ", b"").split(b","):
            return 304, b"", about
        if _takes_gzip(asked.get(b"accept-encoding", b"")):
            return 200, self.zipped, [*about, (b"content-encoding", b"gzip")]
        return 200, self.plain, about


def json_answer(content: bytes) -> FixedAnswer:
    """An answer of JSON to whoever has a key: nothing between server and client keeps it."""
    return FixedAnswer.of(content, b"application/json", [(b"cache-control", b"no-store")])


def _takes_gzip(accepted: bytes) -> bool:
    for item in accepted.lower().split(b","):
        name, _, weight = item.replace(b" ", b"").partition(b";q=")
        if name == b"gzip":
            return weight.strip(b"0.") != b"" or not weight
    return False


def pages(*, page: bool) -> dict[str, FixedAnswer]:
    """The files by path.

    Args:
        page: whether ``/`` is among them.
    """
    spec = find_spec("fastapi_offline")  # for its files alone: nothing of it is imported
    assert spec is not None
    assert spec.origin is not None
    swagger = Path(spec.origin).parent / "static"
    docs = {
        "/docs": _OWN / "docs.html",
        "/docs/docs.js": _OWN / "docs.js",
        "/docs/swagger-ui-bundle.js": swagger / "swagger-ui-bundle.js",
        "/docs/swagger-ui.css": swagger / "swagger-ui.css",
    }
    own = {"/" if path.name == "index.html" else f"/page/{path.name}": path for path in _OWN.iterdir()}
    found = {path: _file(file, _SWAGGER) for path, file in docs.items()}
    if page:
        found |= {path: _file(file, _STRICT) for path, file in own.items() if file.stem != "docs"}
    return found


def _file(path: Path, policy: bytes) -> FixedAnswer:
    """A page's file: nothing comes from elsewhere, no page frames it, and a browser asks each time if it changed."""
    headers = [
        (b"content-security-policy", policy),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cache-control", b"no-cache"),
    ]
    return FixedAnswer.of(path.read_bytes(), _TYPES[path.suffix], headers)
