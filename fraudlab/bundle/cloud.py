"""Bundles at ``gs://`` addresses: fetched once into a cache, then verified as any other."""

import hashlib
import os
from pathlib import Path, PurePosixPath

from fraudlab.bundle import manifest
from fraudlab.errors import UserError
from fraudlab.files import replacing


def download(address: str) -> Path:
    """The folder that holds a copy of the bundle at ``address``, ``gs://bucket/folder``.

    It lies under ``$XDG_CACHE_HOME/fraudlab/bundles`` (``~/.cache`` where that is not set), named by the digest of its
    manifest. What is in it is not checked here.

    Raises:
        UserError: there is no bundle, it cannot be read, or google-cloud-storage is not installed.
    """
    try:
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from google.cloud import storage
    except ImportError as error:
        raise UserError(f"bundle={address} needs google-cloud-storage: pip install 'fraudlab[serve]'") from error
    bucket_name, _, prefix = address.removeprefix("gs://").rstrip("/").partition("/")
    if not bucket_name or not prefix:
        raise UserError(f"bundle={address} names no folder of a bucket; write gs://bucket/folder")
    try:
        bucket = storage.Client().bucket(bucket_name)
        blob = bucket.blob(f"{prefix}/{manifest.NAME}")
        if not blob.exists():
            raise UserError(f"{address} is no bundle (it has no {manifest.NAME}); check the address")
        folder = _cache() / hashlib.sha256(blob.download_as_bytes()).hexdigest()
        if not folder.is_dir():
            with replacing(folder) as aside:
                for each in bucket.list_blobs(prefix=f"{prefix}/"):
                    path = _inside(aside, each.name.removeprefix(f"{prefix}/"))
                    path.parent.mkdir(parents=True, exist_ok=True)
                    each.download_to_filename(path)
    except (GoogleAPIError, GoogleAuthError) as error:
        raise UserError(f"bundle={address} cannot be read ({error}); check the address and your credentials") from error
    return folder


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fraudlab" / "bundles"


def _inside(folder: Path, name: str) -> Path:
    """Where an object's file belongs; a name could lead out of the folder."""
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or name.startswith("/") or name.endswith("/"):
        raise UserError(f"the bundle holds an object of the name {name!r}, which is no file of a bundle; remove it")
    return folder.joinpath(*parts)
