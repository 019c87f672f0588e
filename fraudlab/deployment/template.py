"""What a revision of the service runs: the server, and next to it Google's collector of its metrics."""

import shlex

from fraudlab.config.cloud import CloudConfig
from fraudlab.deployment.google import Json
from fraudlab.errors import UserError
from fraudlab.monitoring.stack.rules import COLLECTED_PORT

PORT = 8080
KEY = "FRAUDLAB_API_KEY"
HASH_KEY = "FRAUDLAB_HASH_KEY"
_SERVER = "server"
_RECORD = "/tmp/record"  # noqa: S108  # of an instance, whose disk is memory
_OWN = ("serving.record_to", "serving.record_upload")
_UNITS = {"Mi": 2**20, "Gi": 2**30}
ENDS = "none"
"""What is typed to end the record or the metrics of a service."""


def drift(name: str) -> str:
    """The name of a service's drift job, of its schedule, and of the service that answers its result."""
    return f"{name}-drift"


def template(config: CloudConfig) -> Json:
    """The revision's template, as Cloud Run's interface has it.

    Raises:
        UserError: a setting that it needs is not there, or two say where records go.
    """
    asked = config.service
    if asked.key_secret is None:
        raise UserError("a service needs its API key: add service.key_secret=<name of a secret in Secret Manager>")
    secrets = {KEY: asked.key_secret, HASH_KEY: asked.hash_secret}
    settings = [*_of_records(config), *shlex.split(asked.settings)]
    if asked.metrics_secret not in (None, ENDS):
        settings.append(f"serving.metrics_port={COLLECTED_PORT}")
    container = server(
        config.image,
        [f"bundle={config.bundle}", *settings],
        [of_secret(name, secret) for name, secret in secrets.items() if secret is not None],
        asked.cpu,
        asked.memory,
    )
    found: Json = {
        "containers": [container],
        "maxInstanceRequestConcurrency": asked.concurrency,
        "scaling": {"minInstanceCount": asked.min_instances, "maxInstanceCount": asked.max_instances},
    }
    if asked.metrics_secret not in (None, ENDS):
        found["containers"].append(_collector(asked.metrics_image))
        found["volumes"] = [_volume(str(asked.metrics_secret))]
    if asked.service_account is not None:
        found["serviceAccount"] = asked.service_account
    return found


def server(image: str | None, settings: list[str], env: list[Json], cpu: int, memory: str) -> Json:
    """The container of ``python -m fraudlab.serve`` with these settings."""
    return {
        "name": _SERVER,
        "image": image,
        "command": ["python", "-m", "fraudlab.serve"],
        "args": [settings[0], "serving.host=0.0.0.0", f"serving.port={PORT}", *settings[1:]],
        "ports": [{"containerPort": PORT}],
        "env": env,
        # The record, the probes and the metrics need the processor between requests too.
        "resources": {"limits": {"cpu": str(cpu), "memory": memory}, "cpuIdle": False, "startupCpuBoost": True},
        "startupProbe": {"httpGet": {"path": "/health/ready", "port": PORT}, "periodSeconds": 2, "timeoutSeconds": 2,
                         "failureThreshold": 60},
        "livenessProbe": {"httpGet": {"path": "/health/live", "port": PORT}, "periodSeconds": 10},
    }  # fmt: skip


def of_secret(variable: str, secret: str) -> Json:
    """A variable of the environment that has a secret's newest version."""
    return {"name": variable, "valueSource": {"secretKeyRef": {"secret": secret, "version": "latest"}}}


def _of_records(config: CloudConfig) -> list[str]:
    """Settings by which an instance copies its record to the bucket, and keeps little of it."""
    if config.records in (None, ENDS):
        return []
    if config.service.hash_secret is None:
        raise UserError("records= keeps cards as keyed hashes: add service.hash_secret=<name of a secret>")
    for word in shlex.split(config.service.settings):
        if word.split("=")[0] in _OWN:
            raise UserError(f"records={config.records} says where the record goes; take {word} out of service.settings")
    number, unit = config.service.memory[:-2], config.service.memory[-2:]
    return [
        f"serving.record_to={_RECORD}",
        f"serving.record_upload={config.records}",
        "serving.record_days=1",
        f"serving.record_bytes={int(number) * _UNITS[unit] // 4}",
    ]


def _collector(image: str) -> Json:
    """Google's Prometheus sidecar; it reads ``run_monitoring.yml`` at a fixed place."""
    return {
        "name": "collector",
        "image": image,
        "dependsOn": [_SERVER],
        "resources": {"limits": {"cpu": "1", "memory": "512Mi"}, "cpuIdle": False},
        "volumeMounts": [{"name": "collector", "mountPath": "/etc/rungmp"}],
    }


def _volume(secret: str) -> Json:
    return {"name": "collector", "secret": {"secret": secret, "items": [{"version": "latest", "path": "config.yaml"}]}}
