"""``python -m fraudlab.serve``."""

import re
from dataclasses import dataclass, field

from fraudlab.config.checks import at_least, one_of, within
from fraudlab.config.commands import PathsConfig
from fraudlab.errors import UserError

LEVELS = ("high", "medium", "low")


@dataclass
class ServingConfig:
    """Limits and addresses of the server; ``conf/serve.yaml`` says what each does."""

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    api_key_file: str | None = None
    unknown_fields: str = "ignore"
    root_path: str = ""
    cors_origins: list[str] = field(default_factory=list)
    max_head_bytes: int = 2**15
    max_headers: int = 100
    max_url_bytes: int = 2**13
    max_body_bytes: int = 2**20
    max_inflight_bytes: int = 2**25
    max_records: int = 100
    max_batch_size: int = 64
    max_queue: int = 256
    max_wait: float = 0.2
    max_connections: int = 2000
    probe_connections: int = 64
    keep_alive: int = 75
    client_timeout: float = 5.0
    timeout: float = 2.0
    worker_timeout: float = 10.0
    worker_starts: int = 3
    drain: float = 0.5
    grace: float = 8.0
    access_log: bool = False
    page: bool = True
    history: str | None = None
    history_required: bool = True
    challenger: str | None = None
    record_to: str | None = None
    hash_columns: list[str] = field(default_factory=list)
    record_share: float = 1.0
    record_reasons: int = 0
    record_days: int = 180
    record_bytes: int = 10 * 2**30
    record_upload: str | None = None
    drift_from: str | None = None
    metrics_port: int | None = None
    decisions: dict[str, str | None] = field(default_factory=lambda: dict.fromkeys(LEVELS))

    def __post_init__(self) -> None:
        within("serving.port", self.port, 1, 65535)
        if self.metrics_port is not None:
            within("serving.metrics_port", self.metrics_port, 1, 65535)
            if self.metrics_port == self.port:
                raise UserError(f"serving.metrics_port={self.metrics_port} is serving.port; choose another one")
        one_of("serving.unknown_fields", self.unknown_fields, ("ignore", "refuse"))
        for key in ("workers", "worker_starts", "max_records", "max_batch_size", "record_days"):
            at_least(f"serving.{key}", getattr(self, key), 1)
        if self.root_path and not re.fullmatch(r"(/[\w.~-]+)+", self.root_path):
            raise UserError(f"serving.root_path={self.root_path} must look like /fraud: from a slash, to none")
        for key in ("max_head_bytes", "max_url_bytes", "max_body_bytes"):
            at_least(f"serving.{key}", getattr(self, key), 1024)
        at_least("serving.max_headers", self.max_headers, 16)
        at_least("serving.max_inflight_bytes", self.max_inflight_bytes, self.max_body_bytes)
        at_least("serving.max_queue", self.max_queue, self.max_records)
        within("serving.timeout", self.timeout, 0.01, 60.0)
        within("serving.max_wait", self.max_wait, 0.001, self.timeout)
        at_least("serving.max_connections", self.max_connections, 1)
        at_least("serving.probe_connections", self.probe_connections, 0)
        at_least("serving.keep_alive", self.keep_alive, 1)
        at_least("serving.client_timeout", self.client_timeout, 0.1)
        at_least("serving.worker_timeout", self.worker_timeout, self.timeout)
        at_least("serving.drain", self.drain, 0.0)
        at_least("serving.grace", self.grace, self.drain + self.timeout)
        within("serving.record_share", self.record_share, 0.0, 1.0)
        at_least("serving.record_reasons", self.record_reasons, 0)
        at_least("serving.record_bytes", self.record_bytes, 2**20)
        if self.record_upload is not None and not re.fullmatch(r"gs://[^/]+/.+", self.record_upload):
            raise UserError(f"serving.record_upload={self.record_upload} must look like gs://bucket/folder")
        for level in self.decisions:
            one_of("serving.decisions, level", level, LEVELS)


@dataclass
class ServeConfig:
    """``python -m fraudlab.serve``."""

    bundle: str | None = None  # folder or gs:// address; null: the newest under outputs/
    serving: ServingConfig = field(default_factory=ServingConfig)
    plugins: list[str] = field(default_factory=list)  # modules of your own that register feature sets
    paths: PathsConfig = field(default_factory=PathsConfig)
