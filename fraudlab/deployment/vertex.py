"""Training jobs and the model registry of Vertex AI."""

from fraudlab.bundle import Bundle
from fraudlab.bundle.cloud import upload
from fraudlab.config.cloud import CloudConfig
from fraudlab.config.overrides import literal
from fraudlab.deployment.google import MARK, Google, Json, digest
from fraudlab.errors import UserError

_ENDED = ("JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_EXPIRED")
_METRICS = "gs://google-cloud-aiplatform/schema/modelevaluation/classification_metrics_1.0.0.yaml"
_SERVER = ["python", "-m", "fraudlab.serve"]


def submit(google: Google, config: CloudConfig) -> str:
    """Start a training job, or find the one that was started by the same settings and has not failed.

    Its container runs ``python -m fraudlab.cloud action=train``, which writes to the folder that Vertex names.

    Returns:
        What to tell: the job, its state and where it writes.
    """
    spec = _spec(config)
    label = digest(config.name, spec)
    prefix = f"{config.bucket}/jobs/{config.name}/{label}"
    spec["baseOutputDirectory"] = {"outputUriPrefix": prefix}
    jobs = google.all("aiplatform", google.own("customJobs"), "customJobs", filter=f"labels.{MARK}={label}")
    job = next((each for each in jobs if each["state"] not in _ENDED), None)
    if job is None:
        body = {"displayName": config.name, "jobSpec": spec, "labels": {MARK: label, "fraudlab-name": config.name}}
        job = google.call("aiplatform", "POST", google.own("customJobs"), body)
    return f"job      {job['name']}\nstate    {job['state']}\nbundle   {prefix}/model, once it has succeeded"


def states(google: Google, name: str) -> list[tuple[str, str, str]]:
    """The training jobs of a name, the newest first: when made, state, resource name."""
    jobs = google.all("aiplatform", google.own("customJobs"), "customJobs", filter=f"labels.fraudlab-name={name}")
    return sorted(((job["createTime"], job["state"], _why(job)) for job in jobs), reverse=True)


def register(google: Google, config: CloudConfig, bundle: Bundle) -> str:
    """Copy a bundle to the bucket and make it a version of the model, unless both are there.

    Returns:
        What to tell: the version, its aliases and the address of the bundle.
    """
    address = f"{config.bucket}/bundles/{config.name}/{bundle.version}"
    upload(bundle.path, address)
    model = google.own(f"models/{config.name}")
    label = bundle.version[:60].lower()
    version = next((v for v in versions(google, config.name) if v.get("labels", {}).get(MARK) == label), None)
    if version is None:
        there = google.find("aiplatform", model) is not None
        asked: Json = {"model": _model(config, bundle, address, label)}
        asked |= {"parentModel": model} if there else {"modelId": config.name}
        made = google.wait("aiplatform", google.call("aiplatform", "POST", google.own("models:upload"), asked))
        version = {"versionId": made["modelVersionId"], "versionAliases": []}
    named = f"{model}@{version['versionId']}"
    _evaluation(google, named, bundle)
    if config.alias and config.alias not in version.get("versionAliases", []):
        asked = {"versionAliases": [config.alias]}
        version = google.call("aiplatform", "POST", f"{named}:mergeVersionAliases", asked)
    aliases = ", ".join(version.get("versionAliases", [])) or "-"
    return f"version  {named}\naliases  {aliases}\nbundle   {address}"


def versions(google: Google, name: str) -> list[Json]:
    """The versions of a model, none where there is no such model."""
    return google.all("aiplatform", google.own(f"models/{name}:listVersions"), "models")


def address(google: Google, name: str, alias: str) -> str:
    """Where the bundle of the version with an alias lies.

    Raises:
        UserError: no version has it.
    """
    for version in versions(google, name):
        if alias in version.get("versionAliases", ()):
            return str(version["artifactUri"])
    raise UserError(f"no version of {name} has the alias {alias}; register one with alias={alias}")


def _spec(config: CloudConfig) -> Json:
    job = config.job
    machine: Json = {"machineType": job.machine}
    if job.accelerator is not None:
        machine |= {"acceleratorType": job.accelerator, "acceleratorCount": job.accelerators}
    asked = ["action=train", f"job.upload_seconds={job.upload_seconds:g}", literal("train", config.train)]
    container = {"imageUri": config.image, "command": ["python", "-m", "fraudlab.cloud"], "args": asked}
    pool = {"machineSpec": machine, "containerSpec": container}
    spec: Json = {
        "workerPoolSpecs": [{**pool, "replicaCount": "1"}],
        "scheduling": {
            "timeout": f"{3600 * job.hours}s",
            "strategy": "SPOT" if job.spot else "STANDARD",
            "restartJobOnWorkerRestart": True,
        },
    }
    if job.replicas > 1:
        spec["workerPoolSpecs"].append({**pool, "replicaCount": str(job.replicas - 1)})
    if job.service_account is not None:
        spec["serviceAccount"] = job.service_account
    return spec


def _model(config: CloudConfig, bundle: Bundle, address: str, label: str) -> Json:
    metrics = bundle.metrics.get("test", {})
    says = f"average precision {metrics['average_precision']:.4f} on test" if metrics else ""
    return {
        "displayName": config.name,
        "artifactUri": address,
        "versionDescription": f"{bundle.manifest['model']}{', ' if says else ''}{says}",
        "labels": {MARK: label},
        "containerSpec": {
            "imageUri": config.image,
            "command": _SERVER,
            "args": [f"bundle={address}", "serving.host=0.0.0.0", "serving.port=8080"],
            "ports": [{"containerPort": 8080}],
            "predictRoute": "/predict",
            "healthRoute": "/health/ready",
        },
    }


def _evaluation(google: Google, version: str, bundle: Bundle) -> None:
    """Metrics of the test window beside the version, once."""
    test = bundle.metrics.get("test", {})
    given = {"auPrc": test.get("average_precision"), "auRoc": test.get("roc_auc")}
    metrics = {name: value for name, value in given.items() if value is not None}
    if not metrics or google.all("aiplatform", f"{version}/evaluations", "modelEvaluations"):
        return
    evaluation = {"displayName": "test window", "metricsSchemaUri": _METRICS, "metrics": metrics}
    google.call("aiplatform", "POST", f"{version}/evaluations:import", {"modelEvaluation": evaluation})


def _why(job: Json) -> str:
    return f"{job['name']} {job.get('error', {}).get('message', '')}".rstrip()
