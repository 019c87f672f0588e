"""Of the stand-in for Google Cloud: jobs of Cloud Run, Cloud Scheduler, alert policies and notification channels."""

import re

import promql_parser

from tests.support.discovery import Json

Answer = tuple[int, Json]
_PAGE = 20


def error(status: int, word: str, message: str) -> Answer:
    return status, {"error": {"code": status, "status": word, "message": message}}


class Watching:
    """What it holds, by name of the resource.

    Attributes:
        run_jobs: of Cloud Run, without their executions.
        schedules: of Cloud Scheduler.
        policies: alert policies.
        channels: notification channels.
        broken_images: that nothing starts of.
    """

    broken_images: set[str]

    def __init__(self) -> None:
        self.run_jobs: dict[str, Json] = {}
        self.schedules: dict[str, Json] = {}
        self.policies: dict[str, Json] = {}
        self.channels: dict[str, Json] = {}
        self._made = 0

    def _operation(self, parent: str, response: Json, failure: str | None = None) -> Json:
        raise NotImplementedError

    # Cloud Run

    def _jobs_get(self, path: str, given: Json, query: Json) -> Answer:
        if path not in self.run_jobs:
            return error(404, "NOT_FOUND", f"Resource '{path.rpartition('/')[2]}' was not found.")
        return 200, self.run_jobs[path]

    def _jobs_create(self, path: str, given: Json, query: Json) -> Answer:
        name = f"{path}/{query['jobId']}"
        if name in self.run_jobs:
            return error(409, "ALREADY_EXISTS", f"{name} is there.")
        return self._job_changed(name, given)

    def _jobs_patch(self, path: str, given: Json, query: Json) -> Answer:
        if given["etag"] != self.run_jobs[path]["etag"]:
            return error(409, "ABORTED", "Conflict for resource: version mismatch.")
        return self._job_changed(path, given)

    def _job_changed(self, name: str, given: Json) -> Answer:
        image = given["template"]["template"]["containers"][0]["image"]
        broken = image in self.broken_images
        says = {"message": f"Image '{image}' not found."} if broken else {}
        condition = {"type": "Ready", "state": "CONDITION_FAILED" if broken else "CONDITION_SUCCEEDED", **says}
        generation = int(self.run_jobs.get(name, {}).get("generation", 0)) + 1
        about = {"name": name, "generation": str(generation), "etag": f'"{generation}"', "terminalCondition": condition}
        self.run_jobs[name] = {**given, **about}
        return 200, self._operation(name.rpartition("/jobs/")[0], {}, says.get("message"))

    # Cloud Scheduler

    def _cloudscheduler_jobs_get(self, path: str, given: Json, query: Json) -> Answer:
        return (200, self.schedules[path]) if path in self.schedules else error(404, "NOT_FOUND", "Job not found.")

    def _cloudscheduler_jobs_create(self, path: str, given: Json, query: Json) -> Answer:
        if given["name"] in self.schedules:
            return error(409, "ALREADY_EXISTS", f"Job {given['name']} already exists.")
        if given["httpTarget"]["uri"].rpartition("/v2/")[2].removesuffix(":run") not in self.run_jobs:
            return error(400, "INVALID_ARGUMENT", "nothing would answer there")
        self.schedules[given["name"]] = {**given, "state": "ENABLED"}
        return 200, self.schedules[given["name"]]

    def _cloudscheduler_jobs_patch(self, path: str, given: Json, query: Json) -> Answer:
        self.schedules[path] |= {key: given[key] for key in query["updateMask"].split(",")}
        return 200, self.schedules[path]

    # Cloud Monitoring

    def _projects_alertpolicies_list(self, path: str, given: Json, query: Json) -> Answer:
        found = [each for name, each in self.policies.items() if name.startswith(path)]
        at = int(query.get("pageToken", 0))
        page = {"alertPolicies": found[at : at + _PAGE]} if found else {}
        return 200, {**page, **({"nextPageToken": str(at + _PAGE)} if at + _PAGE < len(found) else {})}

    def _projects_alertpolicies_create(self, path: str, given: Json, query: Json) -> Answer:
        self._made += 1
        return self._policy_changed(f"{path}/{self._made}", given)

    def _projects_alertpolicies_patch(self, path: str, given: Json, query: Json) -> Answer:
        changed = {key: given[key] for key in query["updateMask"].split(",")}
        return self._policy_changed(path, {**self.policies[path], **changed})

    def _projects_alertpolicies_delete(self, path: str, given: Json, query: Json) -> Answer:
        del self.policies[path]
        return 200, {}

    def _policy_changed(self, name: str, given: Json) -> Answer:
        for key, value in given["userLabels"].items():
            if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key) or not re.fullmatch(r"[a-z0-9_-]{0,63}", value):
                return error(400, "INVALID_ARGUMENT", f"user label {key}={value}")
        for channel in given.get("notificationChannels", ()):
            if channel not in self.channels:
                return error(404, "NOT_FOUND", f"{channel} is not found.")
        [condition] = given["conditions"]
        if (promql := condition.get("conditionPrometheusQueryLanguage")) is not None:
            try:
                promql_parser.parse(promql["query"])
            except ValueError as says:
                return error(400, "INVALID_ARGUMENT", str(says))
            if "notificationRateLimit" in given["alertStrategy"]:
                return error(400, "INVALID_ARGUMENT", "only log-based policies have a rate limit")
        elif "notificationRateLimit" not in given["alertStrategy"]:
            return error(400, "INVALID_ARGUMENT", "log-based policies need a rate limit")
        self.policies[name] = {**given, "name": name}
        return 200, self.policies[name]

    def _projects_notificationchannels_list(self, path: str, given: Json, query: Json) -> Answer:
        return 200, {"notificationChannels": list(self.channels.values())}

    def _projects_notificationchannels_get(self, path: str, given: Json, query: Json) -> Answer:
        return (200, self.channels[path]) if path in self.channels else error(404, "NOT_FOUND", f"{path} is not found.")

    def _projects_notificationchannels_create(self, path: str, given: Json, query: Json) -> Answer:
        self._made += 1
        name = f"{path}/{self._made}"
        self.channels[name] = {**given, "name": name}
        return 200, self.channels[name]
