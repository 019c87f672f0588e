"""The files of the page ``/docs``: our own, and Swagger UI's as the package fastapi-offline carries them."""

from importlib.util import find_spec
from pathlib import Path

_OWN = Path(__file__).parent / "page"
_TYPES = {".html": b"text/html; charset=utf-8", ".js": b"text/javascript; charset=utf-8", ".css": b"text/css"}
POLICY = (
    b"content-security-policy",
    b"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'",
)
"""Header of these files: nothing comes from elsewhere, and no other page frames them."""


def pages() -> dict[str, tuple[bytes, bytes]]:
    """The content and its media type by path."""
    spec = find_spec("fastapi_offline")  # for its files alone: nothing of it is imported
    assert spec is not None
    assert spec.origin is not None
    swagger = Path(spec.origin).parent / "static"
    files = {
        "/docs": _OWN / "docs.html",
        "/docs/docs.js": _OWN / "docs.js",
        "/docs/swagger-ui-bundle.js": swagger / "swagger-ui-bundle.js",
        "/docs/swagger-ui.css": swagger / "swagger-ui.css",
    }
    return {path: (file.read_bytes(), _TYPES[file.suffix]) for path, file in files.items()}
