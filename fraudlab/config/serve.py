"""``python -m fraudlab.serve``."""

from dataclasses import dataclass, field

from fraudlab.config.checks import at_least, one_of, within
from fraudlab.config.doors import PathsConfig


@dataclass
class ServingConfig:
    """Limits and addresses of the server; ``conf/serve.yaml`` says what each does."""

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    api_key_file: str | None = None
    unknown_fields: str = "ignore"
    max_body_bytes: int = 2**20
    max_records: int = 100
    max_batch_size: int = 64
    max_queue: int = 256
    max_wait: float = 0.2
    max_connections: int = 2000
    timeout: float = 2.0
    drain: float = 0.5
    grace: float = 8.0
    history: str | None = None
    record_to: str | None = None
    hash_columns: list[str] = field(default_factory=list)
    record_share: float = 1.0
    record_rows: int = 10_000
    record_files: int = 100

    def __post_init__(self) -> None:
        one_of("serving.host", self.host, ("127.0.0.1", "0.0.0.0", "::"))  # noqa: S104 - LitServe binds to no others
        within("serving.port", self.port, 1024, 65535)
        one_of("serving.unknown_fields", self.unknown_fields, ("ignore", "refuse"))
        for key in ("workers", "max_records", "max_batch_size", "record_rows", "record_files"):
            at_least(f"serving.{key}", getattr(self, key), 1)
        at_least("serving.max_body_bytes", self.max_body_bytes, 1024)
        at_least("serving.max_queue", self.max_queue, self.max_records)
        within("serving.timeout", self.timeout, 0.01, 60.0)
        within("serving.max_wait", self.max_wait, 0.001, self.timeout)
        at_least("serving.max_connections", self.max_connections, 1)
        at_least("serving.drain", self.drain, 0.0)
        at_least("serving.grace", self.grace, self.drain + self.timeout)
        within("serving.record_share", self.record_share, 0.0, 1.0)


@dataclass
class ServeConfig:
    """``python -m fraudlab.serve``."""

    bundle: str | None = None  # folder or gs:// address; null: the newest under outputs/
    serving: ServingConfig = field(default_factory=ServingConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)
