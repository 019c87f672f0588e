"""What stands around a deployed service: a scheduled drift job over all instances' records, and who answers its result.

All of it is made from the revision that has the traffic. Each part says by a digest of what it was asked to be, so that
asking again changes nothing, and goes on where it was stopped.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fraudlab.config.cloud import CloudConfig, CloudWatchConfig
from fraudlab.deployment.alerts import policies, update
from fraudlab.deployment.cloud_run import attempt, failure, started, targets
from fraudlab.deployment.cron import longest_gap
from fraudlab.deployment.google import HOSTS, MARK, Google, Json, digest
from fraudlab.deployment.template import ENDS, HASH_KEY, KEY, drift, server, template
from fraudlab.errors import UserError

_ATTEMPT = "fraudlab-attempt"
_UPLOAD = "serving.record_upload"
_PERMISSION_DENIED = 7
_FIRST = {"schedule": "15 3 * * *", "hours": 168, "cpu": 2, "memory": "4Gi"}
"""Settings of what is made the first time; ``conf/cloud.yaml`` names them."""
_RESULT = "_drift"
"""Folder of the job's result in that of the records."""


@dataclass(frozen=True)
class Served:
    """The revision that has the traffic, or most of it.

    Attributes:
        revision: its name.
        image: of the server.
        settings: of the server, by key; ``bundle`` among them.
        env: the container's variables by name.
        measured: whether the collector of metrics runs beside it.
        stays: whether there is an instance at any time.
    """

    revision: str
    image: str
    settings: dict[str, str]
    env: dict[str, Json]
    measured: bool
    stays: bool

    @property
    def result(self) -> str:
        """Where the drift job writes."""
        return f"{self.settings[_UPLOAD]}/{_RESULT}"

    def carried(self) -> dict[str, str]:
        """Settings of the server that both the drift job and the drift service need, by key."""
        return {key: self.settings[key] for key in ("bundle", "plugins") if key in self.settings}


def served(google: Google, name: str, shares: dict[str, int]) -> Served:
    """What is deployed.

    Raises:
        UserError: nothing is, or somebody made it otherwise.
    """
    if not shares:
        raise UserError(f"there is no service {name} to watch; deploy it first, or check name, project and region")
    revision = max(shares, key=shares.__getitem__)
    found = google.call("run", "GET", google.own(f"services/{name}/revisions/{revision}"))
    container: Json = next((each for each in found["containers"] if "ports" in each), {})
    settings, env = _settings(container), {each["name"]: each for each in container.get("env", ())}
    if "bundle" not in settings or KEY not in env:
        raise UserError(
            f"revision {revision}, which has the traffic, was not made by action=deploy; deploy, then watch that"
        )
    return Served(
        revision,
        container["image"],
        settings,
        env,
        len(found["containers"]) > 1,
        found.get("scaling", {}).get("minInstanceCount", 0) > 0,
    )


def goes_on(google: Google, config: CloudConfig, shares: dict[str, int]) -> None:
    """Refuse a deployment that would end the record or the metrics of the service without being told to.

    Raises:
        UserError: it would; the message says what to add.
    """
    if not shares:
        return
    try:
        before = served(google, config.name, shares)
    except UserError:  # somebody's own, which keeps nothing of ours
        return
    after, ends = template(config), f"{before.revision}, which has the traffic, "
    if _UPLOAD in before.settings and _UPLOAD not in _settings(after["containers"][0]) and config.records != ENDS:
        kept = before.settings[_UPLOAD]
        raise UserError(
            f"{ends}copies its record to {kept}, and this deployment would end that; add records={kept} "
            "service.hash_secret=<secret>, or records=none to end it"
        )
    if before.measured and len(after["containers"]) == 1 and config.service.metrics_secret != ENDS:
        raise UserError(
            f"{ends}has a collector of its metrics, and this deployment would end that; add "
            "service.metrics_secret=<secret>, or service.metrics_secret=none to end it"
        )


def watch(google: Google, config: CloudConfig, deployed: Served) -> Iterator[str]:
    """Make the drift job, its schedule, the service that answers its result, and the alert policies.

    A setting that is not given stays as it is.

    Yields:
        What there is now.

    Raises:
        UserError: the service keeps no record in a bucket, Google refuses, or a part cannot start.
    """
    if _UPLOAD not in deployed.settings:
        raise UserError(
            f"{deployed.revision} has no record in a bucket, which drift is judged by; deploy it with "
            "records=gs://<bucket>/records and service.hash_secret=<secret>"
        )
    config = replace(config, watch=_settled(google, config))
    yield f"watches  {deployed.revision}, {deployed.settings['bundle']}"
    job = _job(google, config, deployed)
    yield f"job      {job} judges {config.watch.hours} hours and writes {deployed.result}"
    yield f"runs     {_schedule(google, config)}"
    yield f"answers  {_service(google, config, deployed)}/drift"
    yield from update(google, config, measured=deployed.measured, stays=deployed.stays)


def state(google: Google, name: str, shares: dict[str, int]) -> Iterator[str]:
    """What watches the service, and what to type where that is not well; nothing where nothing does."""
    own = drift(name)
    job = google.find("run", google.own(f"jobs/{own}"))
    if job is None:
        return
    last = job.get("latestCreatedExecution", {})
    status = last.get("completionStatus", "EXECUTION_PENDING").removeprefix("EXECUTION_").lower()
    yield f"drift    {last.get('createTime', 'not yet')}  {status if last else ''}  {own}".rstrip()
    if status == "failed":
        asked = f"resource.labels.job_name={own} AND resource.labels.location={google.region}"
        yield f"         its log says why: gcloud logging read '{asked}' --project={google.project} --limit=20"
    try:
        old = stale(google, name, shares)
    except UserError as error:
        old = str(error)
    if old is not None:
        yield f"         {old}"
    here = f"--project={google.project} --region={google.region}"
    schedule = google.find("cloudscheduler", google.own(f"jobs/{own}"))
    if schedule is None:
        yield f"runs     never; type: {google.command('watch', name)}"
        return
    yield f"runs     {schedule['schedule']} UTC  {schedule.get('state', '').lower()}".rstrip()
    if schedule.get("state") == "PAUSED":
        yield f"         type: gcloud scheduler jobs resume {own} {here.replace('region', 'location')}"
    if (code := schedule.get("status", {}).get("code", 0)) != 0:
        yield f"         its last try failed: {schedule['status'].get('message', code)}"
    if code == _PERMISSION_DENIED:
        account = schedule["httpTarget"]["oauthToken"]["serviceAccountEmail"]
        yield (
            f"         type: gcloud run jobs add-iam-policy-binding {own} {here} "
            f"--member=serviceAccount:{account} --role=roles/run.invoker"
        )
    answers = google.find("run", google.own(f"services/{own}"))
    if answers is not None:
        yield f"answers  {answers['uri']}/drift"
    yield from policies(google, name)


def stale(google: Google, name: str, shares: dict[str, int]) -> str | None:
    """What to type where a drift job is not of what is served; None where there is no need.

    Raises:
        UserError: somebody made the revision that has the traffic otherwise.
    """
    job = google.find("run", google.own(f"jobs/{drift(name)}"))
    if job is None or not shares:
        return None
    deployed = served(google, name, shares)
    if _UPLOAD not in deployed.settings:
        return (
            f"{deployed.revision}, which has the traffic, copies no record to a bucket: the drift job judges nothing "
            "that it scores; deploy with records=gs://<bucket>/<folder>"
        )
    there = job["template"]["template"]["containers"][0]
    now = {"image": deployed.image, "key of hashes": deployed.env.get(HASH_KEY), **_judged(deployed)}
    key = next((each for each in there.get("env", ()) if each["name"] == HASH_KEY), None)
    had = {"image": there["image"], "key of hashes": key, **_settings(there)}
    if not (other := [what for what in now if had.get(what) != now[what]]):
        return None
    was = ", ".join(f"{what} {had.get(what)}" for what in other if what in _judged(deployed))
    return (
        f"the drift job has another {' and '.join(other)} than {deployed.revision}, which has the traffic"
        f"{f' ({was})' if was else ''}; type: {google.command('watch', name)}"
    )


def _settings(container: Json) -> dict[str, str]:
    """Settings of a command in a container, by key."""
    return dict(word.partition("=")[::2] for word in container.get("args", ()))


def _judged(deployed: Served) -> dict[str, str]:
    """Settings of the drift job that are those of the revision, by key."""
    return {**deployed.carried(), "records": deployed.settings[_UPLOAD]}


def _words(settings: dict[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in settings.items()]


def _settled(google: Google, config: CloudConfig) -> CloudWatchConfig:
    """The settings as typed, else as they are, else the first ones.

    Raises:
        UserError: nothing says which account is meant.
    """
    there: Json = {}
    if (job := google.find("run", google.own(f"jobs/{drift(config.name)}"))) is not None:
        task = job["template"]["template"]
        [container] = task["containers"]
        limits, hours = container.get("resources", {}).get("limits", {}), _settings(container).get("hours")
        there = {
            "hours": None if hours is None else int(hours),
            "cpu": int(limits["cpu"].removesuffix("000m")) if "cpu" in limits else None,
            "memory": limits.get("memory"),
            "service_account": task.get("serviceAccount"),
        }
    if (schedule := google.find("cloudscheduler", google.own(f"jobs/{drift(config.name)}"))) is not None:
        there["schedule"] = schedule["schedule"]
    known = {**_FIRST, **{key: value for key, value in there.items() if value is not None}}
    settled = replace(
        config.watch, **{key: value for key, value in known.items() if getattr(config.watch, key) is None}
    )
    if settled.service_account is None:
        raise UserError("action=watch needs watch.service_account=<email> that the drift job and its schedule act as")
    longest_gap(str(settled.schedule))  # refuses one that never runs before anything is made
    return settled


def _job(google: Google, config: CloudConfig, deployed: Served) -> str:
    """The name of the job of Cloud Run that judges drift."""
    asked, name = config.watch, drift(config.name)
    container = {
        "image": deployed.image,
        "command": ["python", "-m", "fraudlab.drift"],
        "args": [
            *_words(_judged(deployed)),
            f"hours={asked.hours}",
            f"out={deployed.result}",
            "hydra.run.dir=/tmp",
        ],
        "env": [deployed.env[HASH_KEY]] if HASH_KEY in deployed.env else [],
        "resources": {"limits": {"cpu": str(asked.cpu), "memory": asked.memory}},
    }
    task = {
        "containers": [container],
        "maxRetries": 1,
        "timeout": "3600s",
        "serviceAccount": asked.service_account,
    }
    body: Json = {"template": {"taskCount": 1, "template": task}}
    mark = digest(body)
    body["annotations"] = {MARK: mark}
    there = google.find("run", google.own(f"jobs/{name}"))
    if there is None:
        google.wait("run", google.call("run", "POST", google.own("jobs"), body, jobId=name))
    elif there.get("annotations", {}).get(MARK) != mark or failure(there) is not None:
        if failure(there) is not None:  # the same again is no change to Cloud Run
            tried = int(there["template"].get("annotations", {}).get(_ATTEMPT, 1))
            body["template"]["annotations"] = {_ATTEMPT: str(tried + 1)}
        google.wait("run", google.call("run", "PATCH", google.own(f"jobs/{name}"), {**body, "etag": there["etag"]}))
    if (says := failure(google.call("run", "GET", google.own(f"jobs/{name}")))) is not None:
        raise UserError(f"the job {name} cannot run: {says}; correct that, then type this command again")
    return name


def _schedule(google: Google, config: CloudConfig) -> str:
    """When Cloud Scheduler starts the job."""
    asked, name = config.watch, google.own(f"jobs/{drift(config.name)}")
    body: Json = {
        "schedule": asked.schedule,
        "timeZone": "Etc/UTC",
        "httpTarget": {
            "uri": f"{HOSTS['run']}{name}:run",
            "httpMethod": "POST",
            "oauthToken": {"serviceAccountEmail": asked.service_account},
        },
    }
    body["description"] = f"starts the drift job of {config.name}; {MARK} {digest(body)}"
    there = google.find("cloudscheduler", name)
    if there is None:
        google.call("cloudscheduler", "POST", google.own("jobs"), {"name": name, **body})
    elif there.get("description") != body["description"]:
        google.call("cloudscheduler", "PATCH", name, body, updateMask=",".join(body))
    return f"{asked.schedule} UTC"


def _service(google: Google, config: CloudConfig, deployed: Served) -> str:
    """The address of the private service that answers the job's result: inside the project's network, to who may."""
    asked, own = config.watch, drift(config.name)
    name = google.own(f"services/{own}")
    settings = [*_words(deployed.carried()), f"serving.drift_from={deployed.result}/drift.json"]
    wanted: Json = {
        "containers": [server(deployed.image, settings, [deployed.env[KEY]], 1, "2Gi")],
        "scaling": {"minInstanceCount": 0, "maxInstanceCount": 1},
        "serviceAccount": asked.service_account,
    }
    revision = attempt(google, name, f"{own}-{digest(wanted)[:12]}")
    body: Json = {"traffic": targets({revision: 100})}
    private = {"ingress": "INGRESS_TRAFFIC_INTERNAL_ONLY", "invokerIamDisabled": False}
    there = google.find("run", name)
    if there is None:
        body |= {**private, "template": {**wanted, "revision": revision}}
        google.wait("run", google.call("run", "POST", google.own("services"), body, serviceId=own))
    else:
        made = google.find("run", f"{name}/revisions/{revision}") is not None
        if made and there.get("traffic") == body["traffic"]:
            return str(started(google, name, revision)["uri"])
        if not made:
            body["template"] = {**wanted, "revision": revision}
        whole = {"template": there["template"], "etag": there["etag"], **body}
        google.wait("run", google.call("run", "PATCH", name, whole, updateMask=",".join(body)))
    return str(started(google, name, revision)["uri"])
