"""What ``python -m fraudlab.cloud`` does, by action: each gives lines to print."""

import shlex
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from fraudlab.bundle import load
from fraudlab.config.cloud import CloudConfig
from fraudlab.deployment import cloud_run, job, vertex, watch
from fraudlab.deployment.google import Google
from fraudlab.deployment.tags import tag
from fraudlab.errors import UserError

_SHOWN = 5  # newest jobs and versions that status lists


def _submit(config: CloudConfig) -> Iterator[str]:
    google = _google(config)
    yield vertex.submit(google, config)
    yield f"look     {google.command('status', config.name)}"


def _train(config: CloudConfig) -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="fraudlab-"))
    yield f"bundle   {job.run(shlex.split(config.train), folder, config.job.upload_seconds)}"


def _register(config: CloudConfig) -> Iterator[str]:
    bundle = load(str(config.bundle))
    bundle.check()
    google = _google(config)
    if config.version is not None:  # first: a tag that is taken stops before an alias has moved
        yield tag(config.name, config.version, config.alias)
    yield vertex.register(google, config, bundle)


def _deploy(config: CloudConfig) -> Iterator[str]:
    google = _google(config)
    if config.bundle is None:
        config.bundle = vertex.address(google, config.name, str(config.alias))
    watch.goes_on(google, config, cloud_run.shares(google, config.name))
    yield from cloud_run.deploy(google, config, load(config.bundle))
    yield from _watched(google, config.name)


def _watch(config: CloudConfig) -> Iterator[str]:
    google = _google(config)
    deployed = watch.served(google, config.name, cloud_run.shares(google, config.name))
    yield from watch.watch(google, config, deployed)


def _status(config: CloudConfig) -> Iterator[str]:
    google = _google(config)
    jobs, versions = vertex.states(google, config.name), vertex.versions(google, config.name)
    shares = cloud_run.shares(google, config.name)
    if not (jobs or versions or shares):
        raise UserError(f"{google.project} has nothing named {config.name}; check name, project and region")
    for created, state, name in jobs[:_SHOWN]:
        yield f"job      {created}  {state.removeprefix('JOB_STATE_').lower():9}  {name}"
    if jobs and jobs[0][1] == "JOB_STATE_FAILED":
        number = jobs[0][2].split()[0].rpartition("/")[2]
        asked = f"resource.type=ml_job AND resource.labels.job_id={number}"
        yield f"         its log says why: gcloud logging read '{asked}' --project={google.project} --limit=50"
    for version in versions[-_SHOWN:]:
        aliases = ", ".join(version.get("versionAliases", ()))
        yield f"version  {version['versionId']:>3}  {version.get('versionDescription', '')}  {aliases}".rstrip()
    for revision, percent in shares.items():
        yield f"traffic  {percent:3} %  {revision}"
    for line in cloud_run.unwell(google, config.name):
        yield f"         {line}"
    yield from watch.state(google, config.name, shares)


def _rollback(config: CloudConfig) -> Iterator[str]:
    google = _google(config)
    yield cloud_run.rollback(google, config)
    yield from _watched(google, config.name)


ACTIONS: dict[str, Callable[[CloudConfig], Iterator[str]]] = {
    "submit": _submit,
    "train": _train,
    "register": _register,
    "deploy": _deploy,
    "watch": _watch,
    "status": _status,
    "rollback": _rollback,
}


def _watched(google: Google, name: str) -> Iterator[str]:
    """What to type where the drift job is not of what is served now; what was done before is done in any case."""
    try:
        says = watch.stale(google, name, cloud_run.shares(google, name))
    except UserError as error:
        says = f"whether the drift job is of what is served now is not known: {error}"
    if says is not None:
        yield says


def _google(config: CloudConfig) -> Google:
    return Google(config.project, config.region, config.poll_seconds)
