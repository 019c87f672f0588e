"""What stands around a deployed service: a scheduled drift job over all instances' records, and who answers its result.

All of it is made from the revision that has the traffic. Each part says by a digest of what it was asked to be, so that
asking again changes nothing, and goes on where it was stopped.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from fraudlab.config.cloud import CloudConfig
from fraudlab.deployment.alerts import policies, update
from fraudlab.deployment.cloud_run import started, targets
from fraudlab.deployment.google import Google, Json, digest
from fraudlab.deployment.template import HASH_KEY, KEY, server
from fraudlab.errors import UserError

_MARK = "fraudlab-digest"
_RUNS = "https://run.googleapis.com/v2"  # for Cloud Scheduler, which is Google's too
_PERMISSION_DENIED = 7
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
        return f"{self.settings['serving.record_upload']}/{_RESULT}"


def served(google: Google, name: str, shares: dict[str, int]) -> Served:
    """What is deployed.

    Raises:
        UserError: nothing is.
    """
    if not shares:
        raise UserError(f"there is no service {name} to watch; deploy it first, or check name, project and region")
    revision = max(shares, key=shares.__getitem__)
    found = google.call("run", "GET", google.own(f"services/{name}/revisions/{revision}"))
    container = next(each for each in found["containers"] if "ports" in each)
    return Served(
        revision,
        container["image"],
        dict(word.partition("=")[::2] for word in container["args"]),
        {each["name"]: each for each in container.get("env", ())},
        len(found["containers"]) > 1,
        found.get("scaling", {}).get("minInstanceCount", 0) > 0,
    )


def watch(google: Google, config: CloudConfig, deployed: Served) -> Iterator[str]:
    """Make the drift job, its schedule, the service that answers its result, and the alert policies.

    Yields:
        What there is now.

    Raises:
        UserError: the service keeps no record in a bucket, Google refuses, or a part cannot start.
    """
    if "serving.record_upload" not in deployed.settings:
        raise UserError(
            f"{deployed.revision} keeps no record in a bucket, of which drift could be judged; deploy it with "
            "records=gs://<bucket>/records and service.hash_secret=<secret>"
        )
    yield f"watches  {deployed.revision}, {deployed.settings['bundle']}"
    yield f"job      {_job(google, config, deployed)} writes {deployed.result}"
    yield f"runs     {_schedule(google, config)}"
    yield f"answers  {_service(google, config, deployed)}/drift"
    yield from update(google, config, measured=deployed.measured, stays=deployed.stays)


def state(google: Google, name: str, shares: dict[str, int]) -> Iterator[str]:
    """What watches the service, and what to type where that is not well; nothing where nothing does."""
    job = google.find("run", google.own(f"jobs/{name}-drift"))
    if job is None:
        return
    last = job.get("latestCreatedExecution", {})
    status = last.get("completionStatus", "EXECUTION_PENDING").removeprefix("EXECUTION_").lower()
    yield f"drift    {last.get('createTime', 'not yet')}  {status if last else ''}  {name}-drift".rstrip()
    if status == "failed":
        asked = f"resource.labels.job_name={name}-drift"
        yield f"         its log says why: gcloud logging read '{asked}' --project={google.project} --limit=20"
    if (old := stale(google, name, shares)) is not None:
        yield f"         {old}"
    schedule = google.find("cloudscheduler", google.own(f"jobs/{name}-drift"))
    if schedule is None:
        yield f"runs     never; type: {_again(name)}"
        return
    yield f"runs     {schedule['schedule']} UTC  {schedule.get('state', '').lower()}".rstrip()
    if schedule.get("state") == "PAUSED":
        yield f"         type: gcloud scheduler jobs resume {name}-drift --location={google.region}"
    if (code := schedule.get("status", {}).get("code", 0)) != 0:
        yield f"         its last try failed: {schedule['status'].get('message', code)}"
    if code == _PERMISSION_DENIED:
        account = schedule["httpTarget"]["oauthToken"]["serviceAccountEmail"]
        yield (
            f"         type: gcloud run jobs add-iam-policy-binding {name}-drift --region={google.region} "
            f"--member=serviceAccount:{account} --role=roles/run.invoker"
        )
    answers = google.find("run", google.own(f"services/{name}-drift"))
    if answers is not None:
        yield f"answers  {answers['uri']}/drift"
    yield from policies(google, name)


def stale(google: Google, name: str, shares: dict[str, int]) -> str | None:
    """What to type where a drift job judges another bundle than the one that is served; None where there is no need."""
    job = google.find("run", google.own(f"jobs/{name}-drift"))
    if job is None or not shares:
        return None
    judged = job["template"]["template"]["containers"][0]["args"][0]
    now = served(google, name, shares).settings["bundle"]
    if judged == f"bundle={now}":
        return None
    return f"the drift job judges another bundle than {now}, which is served; type: {_again(name)}"


def _again(name: str) -> str:
    return f"python -m fraudlab.cloud action=watch name={name} watch.service_account=<email>"


def _job(google: Google, config: CloudConfig, deployed: Served) -> str:
    """The name of the job of Cloud Run that judges drift."""
    asked, name = config.watch, f"{config.name}-drift"
    container = {
        "image": deployed.image,
        "command": ["python", "-m", "fraudlab.drift"],
        "args": [
            f"bundle={deployed.settings['bundle']}",
            f"records={deployed.settings['serving.record_upload']}",
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
    body["annotations"] = {_MARK: mark}
    there = google.find("run", google.own(f"jobs/{name}"))
    if there is None:
        google.wait("run", google.call("run", "POST", google.own("jobs"), body, jobId=name))
    elif there.get("annotations", {}).get(_MARK) != mark:
        google.wait("run", google.call("run", "PATCH", google.own(f"jobs/{name}"), {**body, "etag": there["etag"]}))
    condition = google.call("run", "GET", google.own(f"jobs/{name}")).get("terminalCondition", {})
    if condition.get("state") == "CONDITION_FAILED":
        says = condition.get("message", "look at its page in the console").rstrip(".")
        raise UserError(f"the job {name} cannot run: {says}; correct that, then type this command again")
    return name


def _schedule(google: Google, config: CloudConfig) -> str:
    """When Cloud Scheduler starts the job."""
    asked, name = config.watch, google.own(f"jobs/{config.name}-drift")
    body: Json = {
        "schedule": asked.schedule,
        "timeZone": "Etc/UTC",
        "httpTarget": {
            "uri": f"{_RUNS}/{name}:run",
            "httpMethod": "POST",
            "oauthToken": {"serviceAccountEmail": asked.service_account},
        },
    }
    body["description"] = f"starts the drift job of {config.name}; {_MARK} {digest(body)}"
    there = google.find("cloudscheduler", name)
    if there is None:
        google.call("cloudscheduler", "POST", google.own("jobs"), {"name": name, **body})
    elif there.get("description") != body["description"]:
        google.call("cloudscheduler", "PATCH", name, body, updateMask=",".join(body))
    return f"{asked.schedule} UTC"


def _service(google: Google, config: CloudConfig, deployed: Served) -> str:
    """The address of the private service that answers the job's result: inside the project's network, to who may."""
    asked, name = config.watch, google.own(f"services/{config.name}-drift")
    settings = [f"bundle={deployed.settings['bundle']}", f"serving.drift_from={deployed.result}/drift.json"]
    template: Json = {
        "containers": [server(deployed.image, settings, [deployed.env[KEY]], 1, "2Gi")],
        "scaling": {"minInstanceCount": 0, "maxInstanceCount": 1},
        "serviceAccount": asked.service_account,
    }
    revision = f"{config.name}-drift-{digest(template)[:12]}"
    body: Json = {"traffic": targets({revision: 100})}
    private = {"ingress": "INGRESS_TRAFFIC_INTERNAL_ONLY", "invokerIamDisabled": False}
    there = google.find("run", name)
    if there is None:
        body |= {**private, "template": {**template, "revision": revision}}
        google.wait("run", google.call("run", "POST", google.own("services"), body, serviceId=f"{config.name}-drift"))
    elif there.get("traffic") != body["traffic"]:
        if google.find("run", f"{name}/revisions/{revision}") is None:
            body["template"] = {**template, "revision": revision}
        whole = {"template": there["template"], "etag": there["etag"], **body}
        google.wait("run", google.call("run", "PATCH", name, whole, updateMask=",".join(body)))
    return str(started(google, name, revision)["uri"])
