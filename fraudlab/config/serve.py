"""``python -m fraudlab.serve``."""

from dataclasses import dataclass, field

from fraudlab.config.doors import PathsConfig
from fraudlab.serving.settings import ServingConfig


@dataclass
class ServeConfig:
    """``python -m fraudlab.serve``."""

    bundle: str | None = None  # folder or gs:// address; null: the newest under outputs/
    serving: ServingConfig = field(default_factory=ServingConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)
