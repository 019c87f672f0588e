"""Bundles at ``gs://`` addresses, fetched once into a cache, then verified as any other; and files copied to one."""

import hashlib
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from fraudlab.bundle import manifest
from fraudlab.errors import UserError
from fraudlab.files import replacing

_log = logging.getLogger(__name__)


def download(address: str) -> Path:
    """The folder that holds a copy of the bundle at ``address``, ``gs://bucket/folder``.

    It lies under ``$XDG_CACHE_HOME/fraudlab/bundles`` (``~/.cache`` where that is not set), named by the digest of its
    manifest. What is in it is not checked here.

    Raises:
        UserError: there is no bundle, it cannot be read, or google-cloud-storage is not installed.
    """
    bucket, prefix, failures = _folder("bundle", address)
    try:
        blob = bucket.blob(f"{prefix}/{manifest.NAME}")
        if not blob.exists():
            raise UserError(f"{address} is not a bundle (it has no {manifest.NAME}); check the address")
        folder = _cache() / hashlib.sha256(blob.download_as_bytes()).hexdigest()
    except failures as error:
        raise UserError(_unread("bundle", address, error)) from error
    if not folder.is_dir():
        fetch(address, folder)
    return folder


def has(address: str, name: str) -> bool:
    """Whether the folder at ``address``, ``gs://bucket/folder``, holds the file ``name``.

    Raises:
        UserError: it cannot be asked.
    """
    bucket, prefix, failures = _folder("address", address)
    try:
        return bool(bucket.blob(f"{prefix}/{name}").exists())
    except failures as error:
        raise UserError(_unread("address", address, error)) from error


def read(setting: str, address: str) -> bytes | None:
    """Content of the file at ``address``, ``gs://bucket/folder/file`` or a path; None where there is none.

    Raises:
        UserError: it cannot be asked for.
    """
    if not address.startswith("gs://"):
        return Path(address).read_bytes() if Path(address).is_file() else None
    bucket, name, failures = _folder(setting, address)
    try:
        blob = bucket.blob(name)
        return bytes(blob.download_as_bytes()) if blob.exists() else None
    except failures as error:
        raise UserError(_unread(setting, address, error)) from error


def fetch(address: str, folder: Path, wanted: Callable[[str], bool] = lambda name: True) -> None:
    """Copy the folder at ``address``, ``gs://bucket/folder``, to ``folder``, whole or not at all.

    Args:
        address: of the folder.
        folder: of this machine.
        wanted: whether a file is, by its path in the folder.

    Raises:
        UserError: it cannot be read.
    """
    bucket, prefix, failures = _folder("address", address)
    try:
        with replacing(folder) as aside:
            aside.mkdir()  # which stays empty where there is nothing
            for each in bucket.list_blobs(prefix=f"{prefix}/"):
                if not wanted(each.name.removeprefix(f"{prefix}/")):
                    continue
                path = _inside(aside, each.name.removeprefix(f"{prefix}/"))
                path.parent.mkdir(parents=True, exist_ok=True)
                each.download_to_filename(path)
    except failures as error:
        raise UserError(_unread("address", address, error)) from error


def upload(folder: Path, address: str) -> None:
    """Copy a bundle to ``address``, ``gs://bucket/folder``, unless it is there: its manifest last, which makes it one.

    Raises:
        UserError: it cannot be written.
    """
    if not has(address, manifest.NAME):
        files = [path for path in folder.rglob("*") if path.is_file()]
        put(folder, sorted(files, key=lambda path: path == folder / manifest.NAME), address)


def put(folder: Path, files: Iterable[Path], address: str) -> None:
    """Copy files under ``folder`` to ``address``, ``gs://bucket/folder``, one after the other.

    Raises:
        UserError: one cannot be written.
    """
    bucket, prefix, failures = _folder("address", address)
    try:
        for path in files:
            name = f"{prefix}/{path.relative_to(folder).as_posix()}"
            bucket.blob(name).upload_from_filename(os.fspath(path))
    except failures as error:
        raise UserError(f"{address} cannot be written ({error}); {_advice(error, 'objectUser')}") from error


class Uploads:
    """Copies files to the folder at ``address``, ``gs://bucket/folder``, each again when it has changed.

    Raises:
        UserError: google-cloud-storage is not installed, or there are no credentials, or ``address`` names no folder.
    """

    def __init__(self, setting: str, address: str) -> None:
        self._bucket, self._prefix, failures = _folder(setting, address)
        self._failures: tuple[type[Exception], ...] = (*failures, OSError)
        self._sent: dict[Path, tuple[int, int]] = {}

    def send(self, folder: Path, paths: Iterable[Path]) -> None:
        """Copy those of ``paths``, files under ``folder``, that changed; what fails is told, and tried next time."""
        for path in paths:
            try:
                facts = path.stat()
                if self._sent.get(path) == (version := (facts.st_mtime_ns, facts.st_size)):
                    continue
                name = f"{self._prefix}/{path.relative_to(folder).as_posix()}"
                self._bucket.blob(name).upload_from_filename(os.fspath(path))
            except FileNotFoundError:  # taken away meanwhile
                continue
            except self._failures as error:
                _log.error("%s could not be copied to gs://%s: %s", path, self._bucket.name, error)
                return  # the others would fail alike, each after long tries
            self._sent[path] = version


def _unread(setting: str, address: str, error: Exception) -> str:
    return f"{setting}={address} cannot be read ({error}); {_advice(error, 'objectViewer')}"


def _advice(error: Exception, role: str) -> str:
    """What to type, or to check, after a bucket was asked in vain by who needs ``role`` on it."""
    from google.auth.exceptions import GoogleAuthError

    if isinstance(error, GoogleAuthError) or getattr(error, "code", None) == 401:
        return "type: gcloud auth application-default login"
    if getattr(error, "code", None) == 403:
        return f"the account needs roles/storage.{role} on the bucket"
    return "check the address"


def _folder(setting: str, address: str) -> tuple[Any, str, tuple[type[Exception], ...]]:
    """The bucket and the folder in it that ``address`` names, and what asking it may raise."""
    try:
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from google.cloud import storage
    except ImportError as error:
        raise UserError(f"{setting}={address} needs google-cloud-storage: pip install 'fraudlab[serve]'") from error
    name, _, prefix = address.removeprefix("gs://").rstrip("/").partition("/")
    if not name or not prefix:
        raise UserError(f"{setting}={address} does not name a folder in a bucket; write gs://bucket/folder")
    failures = (GoogleAPIError, GoogleAuthError)
    try:
        return storage.Client(project=None).bucket(name), prefix, failures  # credentials of a person name no project
    except failures as error:
        raise UserError(_unread(setting, address, error)) from error


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fraudlab" / "bundles"


def _inside(folder: Path, name: str) -> Path:
    """Where an object's file belongs; a name could lead out of the folder."""
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or name.startswith("/") or name.endswith("/"):
        raise UserError(f"the folder in the bucket has an object named {name!r}, which is not a file; remove it")
    return folder.joinpath(*parts)
