"""Revisions of the service on Cloud Run: deployed without traffic, tried, given traffic by steps, taken back."""

import os
from collections.abc import Iterator

from fraudlab.bundle import Bundle
from fraudlab.config.cloud import CloudConfig
from fraudlab.deployment.google import Google, Json, digest, until
from fraudlab.deployment.template import KEY, template
from fraudlab.errors import UserError

CANDIDATE = "candidate"
"""Tag of the revision that is tried, in its own address."""
PREVIOUS = "fraudlab-previous"
"""Annotation of the service: the revision that had all traffic before."""
_BY_REVISION = "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION"
_READY_SECONDS = 600
_IMPERSONATE = "type: gcloud auth application-default login --impersonate-service-account=<account>"
_FAILED = 3  # requests below which a share of failures says nothing
_OFF = 1e-6  # that a score may differ from the golden one


def deploy(google: Google, config: CloudConfig, bundle: Bundle) -> Iterator[str]:
    """Bring a bundle to all traffic, or take it back where it fails.

    The steps stand in the service itself: a deployment that was killed goes on from there.

    Args:
        google: where.
        config: what, and how fast.
        bundle: that ``config.bundle`` names.

    Yields:
        What was done.

    Raises:
        UserError: the revision does not start, scores otherwise than the export, or fails requests; traffic is where
            it was before.
    """
    if not str(config.bundle).startswith("gs://"):
        raise UserError("a service reads its bundle from a bucket: run action=register, then give bundle=gs://...")
    bundle.check()
    name = google.own(f"services/{config.name}")
    revision = attempt(google, name, revision_of(config, bundle))
    there = google.find("run", name)
    previous = None if there is None else _other(there, revision)
    if previous is not None and failure(google.find("run", f"{name}/revisions/{previous}")) is not None:
        previous = None  # a first one that has not started is no way back
    try:
        if there is None:
            service = _created(google, config, revision)
        else:
            service = _added(google, config, there, revision, previous)
        yield f"revision {revision} has started"
        _smoke(google, config, service, bundle)
        yield f"it gives the {len(bundle.golden())} golden scores"
        for share in config.service.shares if previous else [100]:
            if share > _shares(service)[revision]:
                rest = {} if previous is None or share == 100 else {previous: 100 - share}
                service = _shifted(google, service, {revision: share, **rest}, tagged=revision)
            if share == _shares(service)[revision] and share < 100:
                yield f"{share} % of the traffic for {config.service.hold_minutes:g} minutes"
                _hold(google, config, revision)
    except UserError as error:
        raise UserError(f"{error}; {_taken_back(google, config.name, previous)}") from error
    yield f"all traffic is at {revision}; the way back: {google.command('rollback', config.name)}"


def _taken_back(google: Google, service: str, previous: str | None) -> str:
    """Give the traffic back to the revision before, and say where it is."""
    if previous is None:
        return "there is no revision before it to go back to"
    try:
        _shifted(google, google.call("run", "GET", google.own(f"services/{service}")), {previous: 100})
    except UserError as error:
        return f"and the traffic could not be given back ({error}); type: {google.command('rollback', service)}"
    return f"all traffic is at {previous}"


def rollback(google: Google, config: CloudConfig) -> str:
    """Give all traffic to the revision before, or to ``config.revision``.

    Returns:
        What to tell.

    Raises:
        UserError: there is no service, or none before.
    """
    name = google.own(f"services/{config.name}")
    service = google.find("run", name)
    if service is None:
        raise UserError(f"there is no service {config.name} in {config.region}; check name, project and region")
    to = config.revision or service.get("annotations", {}).get(PREVIOUS)
    if not to:
        raise UserError(f"service {config.name} has no earlier revision; name one with revision=<revision>")
    if _shares(service).get(to) != 100:
        _shifted(google, service, {to: 100}, previous=_other(service, to))
    return f"all traffic of {config.name} is at {to}"


def shares(google: Google, name: str) -> dict[str, int]:
    """Percent of the traffic by revision, those that are tried included; empty without a service."""
    service = google.find("run", google.own(f"services/{name}"))
    return {} if service is None else _shares(service)


def unwell(google: Google, name: str) -> Iterator[str]:
    """What of the service is not as it should be, and what to type."""
    path = google.own(f"services/{name}")
    service = google.find("run", path)
    if service is None:
        return
    has = _shares(service)
    for revision in has:
        if (says := failure(google.find("run", f"{path}/revisions/{revision}"))) is not None:
            yield f"{revision} does not start: {says}; correct that, then deploy again"
    tried = _candidate(service)
    if tried is not None and has.get(tried, 0) < 100:
        yield (
            f"the deployment of {tried} has not ended: type it again where nothing does it, or go back: "
            f"{google.command('rollback', name)}"
        )


def revision_of(config: CloudConfig, bundle: Bundle) -> str:
    """The name of the revision of these settings and this bundle: the same whenever it is asked for."""
    return f"{config.name}-{digest(template(config), bundle.version)[:12]}"


def attempt(google: Google, name: str, revision: str) -> str:
    """The name of a revision, with a number where earlier ones of that name have not started.

    A revision is tried once by Cloud Run, and one that has traffic cannot be deleted.
    """
    number, found = 1, revision
    while failure(google.find("run", f"{name}/revisions/{found}")) is not None:
        number += 1
        found = f"{revision}-{number}"
    return found


def failure(made: Json | None) -> str | None:
    """Why a revision or a job cannot run, in Cloud Run's words; None where it can, or is not there."""
    found = made or {}
    conditions = [found["terminalCondition"]] if "terminalCondition" in found else found.get("conditions", ())
    failed = next((each for each in conditions if each.get("state") == "CONDITION_FAILED"), None)
    return None if failed is None else str(failed.get("message", "look at its log")).rstrip(".")


def _created(google: Google, config: CloudConfig, revision: str) -> Json:
    """The service with its first revision, which has all traffic."""
    body = {**_service(config, revision), "traffic": targets({revision: 100}, revision)}
    google.wait("run", google.call("run", "POST", google.own("services"), body, serviceId=config.name))
    return started(google, google.own(f"services/{config.name}"), revision)


def _added(google: Google, config: CloudConfig, service: Json, revision: str, previous: str | None) -> Json:
    """The service with the revision beside the others, without traffic where it has none yet and others start."""
    name, before = google.own(f"services/{config.name}"), _shares(service)
    body: Json = {}
    first = previous is None and revision not in before
    if revision not in before:
        kept = {key: value for key, value in service.get("annotations", {}).items() if key != PREVIOUS}
        body["annotations"] = kept if previous is None else {**kept, PREVIOUS: previous}
        if google.find("run", f"{name}/revisions/{revision}") is None:
            body |= _service(config, revision)
    if _candidate(service) != revision:
        shares = {each: percent for each, percent in before.items() if percent and each != revision}
        body["traffic"] = targets({revision: 100} if first else {**shares, revision: before.get(revision, 0)}, revision)
    if service.get("invokerIamDisabled", False) != config.service.public:
        body["invokerIamDisabled"] = config.service.public
    if body:
        _patched(google, service, body)
    return started(google, name, revision)


def _service(config: CloudConfig, revision: str) -> Json:
    return {"template": {**template(config), "revision": revision}, "invokerIamDisabled": config.service.public}


def targets(wanted: dict[str, int], tagged: str | None = None) -> list[Json]:
    """Traffic by revision; the tagged one has an address of its own, too."""
    found: list[Json] = []
    for revision, percent in wanted.items():
        tag = {"tag": CANDIDATE} if revision == tagged else {}
        found.append({"type": _BY_REVISION, "revision": revision, "percent": percent, **tag})
    return found


def _shares(service: Json) -> dict[str, int]:
    """Percent by revision; that of the latest one stands under its name."""
    found: dict[str, int] = {}
    for target in service.get("trafficStatuses") or service.get("traffic", ()):
        revision = target.get("revision") or service.get("latestReadyRevision", "").rpartition("/")[2]
        if revision:
            found[revision] = found.get(revision, 0) + target.get("percent", 0)
    return found


def _other(service: Json, revision: str) -> str | None:
    """The revision to go back to from another: the one noted where both have traffic, else the one with most of it."""
    shares = _shares(service)
    others = {name: percent for name, percent in shares.items() if percent and name != revision}
    noted = service.get("annotations", {}).get(PREVIOUS)
    if noted == revision and shares.get(revision):  # it is the one that others are tried against
        return None
    return noted if noted in others or not others else max(others, key=others.__getitem__)


def _candidate(service: Json) -> str | None:
    return next((t.get("revision") for t in service.get("trafficStatuses", ()) if t.get("tag") == CANDIDATE), None)


def started(google: Google, name: str, revision: str) -> Json:
    """The service once the revision has started.

    Raises:
        UserError: it does not start; Cloud Run's words say why.
    """
    service = _settled(google, name)
    if (says := failure(google.call("run", "GET", f"{name}/revisions/{revision}"))) is not None:
        raise UserError(f"revision {revision} does not start: {says}; correct that, then type this command again")
    return service


def _settled(google: Google, name: str) -> Json:
    """The service once Cloud Run has done what was asked."""
    found: list[Json] = []

    def settled() -> bool:
        found[:] = [google.call("run", "GET", name)]
        return not found[0].get("reconciling")

    if not until(settled, _READY_SECONDS, google.poll_seconds):
        raise UserError(f"{name} is not ready after {_READY_SECONDS} s; look at its log, then run the command again")
    return found[0]


def _shifted(
    google: Google, service: Json, wanted: dict[str, int], *, tagged: str | None = None, previous: str | None = None
) -> Json:
    """The service with its traffic divided as wanted; ``previous`` is noted as the way back."""
    body: Json = {"traffic": targets(wanted, tagged)}
    if previous is not None:
        body["annotations"] = {**service.get("annotations", {}), PREVIOUS: previous}
    _patched(google, service, body)
    return _settled(google, service["name"])


def _patched(google: Google, service: Json, body: Json) -> None:
    """Change the service, unless someone else has meanwhile."""
    mask = ",".join(body)
    whole = {"template": service["template"], "etag": service["etag"], **body}  # which every request must have
    google.wait("run", google.call("run", "PATCH", service["name"], whole, updateMask=mask))


def _smoke(google: Google, config: CloudConfig, service: Json, bundle: Bundle) -> None:
    """Ask the revision, at its own address, for the golden scores."""
    import requests

    address = next(t["uri"] for t in service["trafficStatuses"] if t.get("tag") == CANDIDATE)
    headers = {"X-API-Key": os.environ.get(KEY) or _scoring_key(google, config)}
    if not config.service.public:
        token = google.identity(service["uri"])
        if token is None:
            raise UserError(f"these credentials cannot make an identity token for the private service; {_IMPERSONATE}")
        headers["X-Serverless-Authorization"] = f"Bearer {token}"
    for row in bundle.golden():
        try:
            answer = requests.post(f"{address}/predict?dry_run=true", json=row["record"], headers=headers, timeout=30)
            answer.raise_for_status()
            found = answer.json()["score"]
        except (requests.RequestException, KeyError, ValueError) as error:
            raise UserError(
                f"the revision does not score a golden record: {error}{_unanswered(google, config, error)}"
            ) from error
        if abs(found - row["score"]) > _OFF:
            raise UserError(f"the revision scores a golden record {found}, its export {row['score']}")


def _unanswered(google: Google, config: CloudConfig, error: Exception) -> str:
    """What to type where a golden record was not let through; nothing where that is not why."""
    answer = getattr(error, "response", None)
    if answer is None or answer.status_code not in (401, 403):
        return ""
    if "json" in answer.headers.get("Content-Type", ""):  # the server's own answer; Cloud Run's is a page
        where = f"variable {KEY}" if os.environ.get(KEY) else f"secret {config.service.key_secret}"
        return f"; it does not let the key of {where} score"
    here = f"--project={google.project} --region={google.region}"
    return (
        f"; this account may not ask it, type: gcloud run services add-iam-policy-binding {config.name} {here} "
        "--member=<account> --role=roles/run.invoker"
    )


def _scoring_key(google: Google, config: CloudConfig) -> str:
    """A key of the service that may score, from the secret that the service has its keys from."""
    for line in google.secret(str(config.service.key_secret)).split():
        *about, key = line.split(":")
        if len(about) < 2 or "score" in about[1].split(","):
            return key
    raise UserError(f"secret {config.service.key_secret} has no key with the scope score; add one, or {KEY}")


def _hold(google: Google, config: CloudConfig, revision: str) -> None:
    """Watch the revision's requests for a while.

    Raises:
        UserError: too many of them failed.
    """
    minutes = max(round(config.service.hold_minutes), 1)

    def failing() -> bool:
        failed = _requests(google, revision, minutes, ',response_code_class="5xx"')
        every = _requests(google, revision, minutes)
        if failed < _FAILED or failed <= config.service.max_failures * every:
            return False
        raise UserError(f"{failed:.0f} of the revision's {every:.0f} requests failed in {minutes} minutes")

    until(failing, 60 * config.service.hold_minutes, google.poll_seconds)


def _requests(google: Google, revision: str, minutes: int, more: str = "") -> float:
    """How many requests the revision answered, by Cloud Run's own count."""
    which = f'monitored_resource="cloud_run_revision",revision_name="{revision}"{more}'
    asked = {"query": f"sum(increase(run_googleapis_com:request_count{{{which}}}[{minutes}m]))"}
    path = f"projects/{google.project}/location/global/prometheus/api/v1/query"
    found = google.call("monitoring", "POST", path, asked)["data"]["result"]
    return float(found[0]["value"][1]) if found else 0.0
