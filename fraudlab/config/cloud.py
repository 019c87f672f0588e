"""``python -m fraudlab.cloud``."""

import re
from dataclasses import dataclass, field

from fraudlab.config.checks import MISSING, at_least, one_of, within
from fraudlab.config.commands import PathsConfig
from fraudlab.errors import UserError

ACTIONS = ("submit", "train", "register", "deploy", "watch", "status", "rollback")
_NEEDED = {"submit": ("bucket", "image"), "register": ("bucket", "image", "bundle"), "deploy": ("image",)}


@dataclass
class CloudJobConfig:
    """The machines of a training job; ``conf/cloud.yaml`` says what each does."""

    machine: str = "n1-standard-8"
    accelerator: str | None = "NVIDIA_TESLA_T4"
    accelerators: int = 1
    replicas: int = 1
    spot: bool = True
    hours: int = 24
    service_account: str | None = None
    upload_seconds: float = 60.0

    def __post_init__(self) -> None:
        for key in ("accelerators", "replicas", "hours"):
            at_least(f"job.{key}", getattr(self, key), 1)
        within("job.upload_seconds", self.upload_seconds, 0.1, 3600)


@dataclass
class CloudServiceConfig:
    """The deployed service; ``conf/cloud.yaml`` says what each does."""

    settings: str = ""
    key_secret: str | None = None
    hash_secret: str | None = None
    metrics_secret: str | None = None
    metrics_image: str = (
        "us-docker.pkg.dev/cloud-ops-agents-artifacts/cloud-run-gmp-sidecar/cloud-run-gmp-sidecar:1.2.0"
    )
    service_account: str | None = None
    cpu: int = 2
    memory: str = "2Gi"
    concurrency: int = 80
    min_instances: int = 0
    max_instances: int = 10
    public: bool = False
    shares: list[int] = field(default_factory=lambda: [5, 25, 100])
    hold_minutes: float = 10.0
    max_failures: float = 0.01

    def __post_init__(self) -> None:
        for key in ("cpu", "concurrency", "max_instances"):
            at_least(f"service.{key}", getattr(self, key), 1)
        at_least("service.max_instances", self.max_instances, max(self.min_instances, 1))
        _memory("service.memory", self.memory)
        if self.shares != sorted({*self.shares, 100}) or self.shares[0] < 1:
            raise UserError(f"service.shares={self.shares} must rise from at least 1 to 100, as [5,25,100]")
        at_least("service.hold_minutes", self.hold_minutes, 0)
        within("service.max_failures", self.max_failures, 0, 1)


@dataclass
class CloudWatchConfig:
    """What watches the deployed service; ``conf/cloud.yaml`` says what each does."""

    schedule: str | None = None
    hours: int | None = None
    notify: str | None = None
    service_account: str | None = None
    cpu: int | None = None
    memory: str | None = None

    def __post_init__(self) -> None:
        if self.hours is not None:
            within("watch.hours", self.hours, 1, 24 * 366)
        if self.cpu is not None:
            at_least("watch.cpu", self.cpu, 1)
        if self.memory is not None:
            _memory("watch.memory", self.memory)
        if self.schedule is not None and len(self.schedule.split()) != 5:
            raise UserError(f"watch.schedule={self.schedule} must be five fields of cron, as '15 3 * * *', in UTC")
        if self.notify is not None and not re.fullmatch(
            r"none|[^@\s/]+@[^@\s/]+|(projects/[^/]+/notificationChannels/)?\d+", self.notify
        ):
            raise UserError(
                f"watch.notify={self.notify} must be an email address, or the number of a notification channel, which "
                "gcloud beta monitoring channels list shows; or none, to tell nobody any more"
            )


def _memory(key: str, value: str) -> None:
    if not re.fullmatch(r"\d+[MG]i", value):
        raise UserError(f"{key}={value} must look like 512Mi or 2Gi")


@dataclass
class CloudConfig:
    """``python -m fraudlab.cloud``."""

    action: str = MISSING  # submit | train | register | deploy | watch | status | rollback
    project: str | None = None  # of Google Cloud; null: that of the credentials
    region: str = "europe-west1"  # of jobs, models and services
    name: str = "fraud"  # of the model, the service and the jobs
    bucket: str | None = None  # gs://bucket or a folder in it: what jobs write, bundles
    image: str | None = None  # of the container registry, by digest: ...@sha256:...
    train: str = ""  # settings of python -m fraudlab.train, as typed after it: submit, train
    bundle: str | None = None  # folder or gs:// address: register, deploy
    alias: str | None = None  # of a version, as prod; register moves it, deploy without a bundle takes the version's
    version: str | None = None  # register: that a git tag gets, as v1.2.0; null: no tag
    records: str | None = None  # deploy: gs://bucket/folder that every instance copies its record to; none: no record
    revision: str | None = None  # rollback: the one to go back to; null: the one before
    poll_seconds: float = 5.0  # between two looks at what is under way
    job: CloudJobConfig = field(default_factory=CloudJobConfig)
    service: CloudServiceConfig = field(default_factory=CloudServiceConfig)
    watch: CloudWatchConfig = field(default_factory=CloudWatchConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)

    def __post_init__(self) -> None:
        one_of("action", self.action, ACTIONS)
        if not re.fullmatch(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?", self.name):
            raise UserError(
                f"name={self.name} must be lower-case letters, digits and hyphens, 32 at most, as card-fraud"
            )
        if self.bucket is not None and not re.fullmatch(r"gs://[^/]+(/.+)?", self.bucket):
            raise UserError(f"bucket={self.bucket} must look like gs://bucket or gs://bucket/folder")
        if self.records is not None and not re.fullmatch(r"none|gs://[^/]+/.*[^/]", self.records):
            raise UserError(f"records={self.records} must look like gs://bucket/folder")
        if self.version is not None and not re.fullmatch(r"v\d+\.\d+\.\d+", self.version):
            raise UserError(f"version={self.version} must look like v1.2.0")
        if self.alias is not None and not re.fullmatch(r"[a-z][a-z0-9-]{0,126}", self.alias):
            raise UserError(f"alias={self.alias} must be lower-case letters, digits and hyphens, as prod")
        within("poll_seconds", self.poll_seconds, 0.01, 600)
        for key in _NEEDED.get(self.action, ()):
            if getattr(self, key) is None:
                raise UserError(f"action={self.action} needs {key}=<{key}>; python -m fraudlab.cloud --help says more")
        if self.action == "deploy" and self.bundle is None and self.alias is None:
            raise UserError("action=deploy needs bundle=gs://... or the alias of a registered version, as alias=prod")
