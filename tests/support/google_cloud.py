"""A stand-in for Google Cloud on loopback that holds each request against Google's own description of its interfaces.

A path, parameter, field, type or value that it does not have is answered with 400 and kept in ``faults``.
"""

import base64
import json
import re
import threading
import time
from collections.abc import Callable
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.support.discovery import VERSIONS, Json, document, method_of, problems
from tests.support.google_watch import Watching, error


class GoogleCloud(Watching):
    """The server and what it holds; ``with GoogleCloud() as google``.

    Attributes:
        faults: what requests held that the description does not have.
        refusals: by method, as ``services.patch``: (status, word, message, how often).
        dropped: methods whose next connection ends without an answer, though they are done.
        lost: methods whose next answer does not arrive, though they are done.
        asked: the methods, in order, whatever came of them.
        service_uri: of what stands for the revision that has the tag; the service's own address answers nobody.
        keys: content of every secret.
        expired: whether its credentials give no token any more.
        failed: requests of a revision that Cloud Run counts as failed; ``answered`` all of them.
        broken_images: that no revision starts of.
    """

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.refusals: dict[str, tuple[int, str, str, int]] = {}
        self.asked: list[str] = []
        self.service_uri = ""
        self.keys = ""
        self.expired = False
        self.lost: set[str] = set()
        self.dropped: set[str] = set()
        self.failed: dict[str, float] = {}
        self.answered: dict[str, float] = {}
        self.broken_images: set[str] = set()
        self.traffic: list[dict[str, int]] = []
        self.after: Callable[[str], None] = lambda method: None
        self.jobs: list[Json] = []
        self.versions: dict[str, list[Json]] = {}
        self.evaluations: dict[str, list[Json]] = {}
        self.services: dict[str, Json] = {}
        self.revisions: dict[str, Json] = {}
        self._operations: dict[str, Json] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> "GoogleCloud":
        cloud = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None:
                pass

            def handle_one(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, answer = cloud._answer(self.command, self.path, body, self.headers)
                if status == 0:
                    self.close_connection = True
                    return
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/html" if status == 403 and not answer else "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PATCH = do_DELETE = handle_one

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def environment(self, folder: Path) -> dict[str, str]:
        """Variables by which a command finds this server and no other, with the credentials of a service account."""
        account = {"type": "service_account", "project_id": "shop", "private_key": _key(), "private_key_id": "1",
                   "client_email": "ci@shop.iam", "token_uri": f"{self.address}/token"}  # fmt: skip
        file = folder / "account.json"
        file.write_text(json.dumps(account))
        hosts = {f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}": f"{self.address}/{api}/{version}/"
                 for api, version in VERSIONS.items()}  # fmt: skip
        return {"GOOGLE_APPLICATION_CREDENTIALS": str(file), "HTTPS_PROXY": "http://127.0.0.1:9", **hosts}

    def _answer(self, verb: str, address: str, body: bytes, headers: Any) -> tuple[int, Json]:
        parts = urlsplit(address)
        if parts.path == "/token":
            given = dict(parse_qsl(body.decode()))
            assert given["grant_type"].endswith("jwt-bearer")
            word = "id_token" if '"target_audience"' in _claims(given["assertion"]) else "access_token"
            if self.expired:
                return 400, {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}
            return 200, {word: _token(), "expires_in": 3600, "token_type": "Bearer"}
        if parts.path.startswith("/closed/"):  # a private service's front, or a bucket of others
            return 403, {}
        _, api, path = parts.path.split("/", 2)
        query = dict(parse_qsl(parts.query))
        found = method_of(api, verb, path)
        with self._lock:
            if found is None:
                return self._fault(f"{verb} {api} {path}: there is no such method")
            name, method = found
            name = name.split("locations.")[-1]
            name = f"{api}.{name}" if api == "cloudscheduler" else name  # Cloud Run has jobs too
            self.asked.append(name)
            if not headers.get("Authorization", "").startswith("Bearer "):
                return error(401, "UNAUTHENTICATED", "Request is missing required authentication credential.")
            known = {k for k, v in method["parameters"].items() if v["location"] == "query"}
            wrong = [f"{name}: there is no parameter {key}" for key in query if key not in known]
            given = json.loads(body) if body else None
            if "request" in method and given is not None:
                wrong += [f"{name}: {each}" for each in problems(api, method["request"], given)]
            elif given is not None:
                wrong.append(f"{name} takes no body")
            if wrong:
                return self._fault("; ".join(wrong))
            if name in self.refusals:
                status, word, message, times = self.refusals[name]
                if times:
                    self.refusals[name] = (status, word, message, times - 1)
                    return error(status, word, message)
            status, answer = self._do(name, path.split("/", 1)[1], given or {}, query)
            if name in self.dropped:
                return 0, {}
            if name in self.lost:
                self.lost.remove(name)
                return error(503, "UNAVAILABLE", "The service is currently unavailable.")
            if status < 400 and api != "monitoring":  # whose answer is no JSON of Google's, but Prometheus's
                output = {"$ref": method["response"]["$ref"]}
                self.faults += [f"answer of {name}: {each}" for each in problems(api, output, answer)
                                if "output only" not in each and "is required" not in each]  # fmt: skip
        self.after(name)
        return status, answer

    def _fault(self, says: str) -> tuple[int, Json]:
        self.faults.append(says)
        return error(400, "INVALID_ARGUMENT", says)

    def _do(self, name: str, path: str, given: Json, query: dict[str, str]) -> tuple[int, Json]:
        if name.endswith("operations.get"):
            operation = self._operations[path]
            operation["looks"] -= 1
            if operation["looks"] <= 0:
                operation["answer"] |= {"done": True}
            return 200, operation["answer"]
        do = getattr(self, "_" + name.replace(".", "_").lower(), None)
        assert do is not None, name
        return do(path, given, query)

    # Vertex AI

    def _customjobs_create(self, path: str, given: Json, query: dict[str, str]) -> tuple[int, Json]:
        job = {**given, "name": f"{path}/{len(self.jobs) + 1}", "state": "JOB_STATE_PENDING",
               "createTime": f"2026-11-01T00:00:{len(self.jobs):02}Z"}  # fmt: skip
        self.jobs.append(job)
        return 200, job

    def _customjobs_list(self, path: str, given: Json, query: dict[str, str]) -> tuple[int, Json]:
        key, value = re.fullmatch(r"labels\.([\w-]+)=([\w-]+)", query["filter"]).groups()
        found = [job for job in self.jobs if job["labels"].get(key) == value]
        at = int(query.get("pageToken", 0))  # pages of one, so that every page is asked for
        page = {"customJobs": found[at : at + 1]} if found else {}
        return 200, {**page, **({"nextPageToken": str(at + 1)} if at + 1 < len(found) else {})}

    def _models_get(self, path: str, given: Json, query: dict[str, str]) -> tuple[int, Json]:
        versions = self.versions.get(path)
        return (200, versions[-1]) if versions else error(404, "NOT_FOUND", f"{path} is not found.")

    def _models_upload(self, path: str, given: Json, query: dict[str, str]) -> tuple[int, Json]:
        name = given.get("parentModel") or f"{path.removesuffix(':upload')}/{given['modelId']}"
        if ("parentModel" in given) != (name in self.versions):
            return error(409, "ALREADY_EXISTS", f"{name} is there.")
        versions = self.versions.setdefault(name, [])
        versions.append({**given["model"], "name": name, "versionId": str(len(versions) + 1), "versionAliases": []})
        return 200, self._operation(name, {"model": name, "modelVersionId": versions[-1]["versionId"]})

    def _models_listversions(self, path: str, given: Json, query: dict[str, str]) -> tuple[int, Json]:
        name = path.removesuffix(":listVersions")
        if name not in self.versions:
            return error(404, "NOT_FOUND", f"{name} is not found.")
        return 200, {"models": self.versions[name]}

    def _models_mergeversionaliases(self, path: str, given: Json, query: dict[str, str]) -> tuple[int, Json]:
        name, _, version = path.removesuffix(":mergeVersionAliases").partition("@")
        for each in self.versions[name]:
            others = [alias for alias in each["versionAliases"] if alias not in given["versionAliases"]]
            each["versionAliases"] = others + (given["versionAliases"] if each["versionId"] == version else [])
        return 200, self.versions[name][int(version) - 1]

    def _models_evaluations_list(self, path: str, given: Json, query: dict[str, str]) -> tuple[int, Json]:
        return 200, {"modelEvaluations": self.evaluations.get(path, [])}

    def _models_evaluations_import(self, path: str, given: Json, query: dict[str, str]) -> tuple[int, Json]:
        self.evaluations.setdefault(path.removesuffix(":import"), []).append(given["modelEvaluation"])
        return 200, given["modelEvaluation"]

    # Cloud Run

    def _services_get(self, path: str, given: Json, query: dict[str, str]) -> tuple[int, Json]:
        if path not in self.services:
            return error(404, "NOT_FOUND", f"Resource '{path.rpartition('/')[2]}' was not found.")
        service = self.services[path]
        shown = {**service, "reconciling": service["reconciling"] > 0}
        service["reconciling"] -= 1
        return 200, shown

    def _services_create(self, path: str, given: Json, query: dict[str, str]) -> tuple[int, Json]:
        name = f"{path}/{query['serviceId']}"
        if name in self.services:
            return error(409, "ALREADY_EXISTS", f"{name} is there.")
        self.services[name] = {"name": name, "uri": "http://127.0.0.1:9", "generation": "0"}
        return self._changed(name, given)

    def _services_patch(self, path: str, given: Json, query: dict[str, str]) -> tuple[int, Json]:
        if given.get("etag", self.services[path]["etag"]) != self.services[path]["etag"]:
            return error(409, "ABORTED", "Conflict for resource: version mismatch.")
        mask = query["updateMask"].split(",")
        return self._changed(path, {key: given[key] for key in mask})

    def _services_revisions_get(self, path: str, given: Json, query: dict[str, str]) -> tuple[int, Json]:
        if path not in self.revisions:
            return error(404, "NOT_FOUND", f"Resource '{path.rpartition('/')[2]}' was not found.")
        return 200, self.revisions[path]

    def _changed(self, name: str, given: Json) -> tuple[int, Json]:
        service, failure = self.services[name], None
        service |= given
        if "template" in given:
            revision = f"{name}/revisions/{given['template']['revision']}"
            if revision in self.revisions:
                return error(409, "ALREADY_EXISTS", "Revision names must be unique.")
            image = given["template"]["containers"][0]["image"]
            state = "CONDITION_FAILED" if image in self.broken_images else "CONDITION_SUCCEEDED"
            says = {"message": f"Image '{image}' not found."} if image in self.broken_images else {}
            if says:
                name_of = given["template"]["revision"]
                failure = f"Revision '{name_of}' is not ready and cannot serve traffic. {says['message']}"
            fields = document("run")["schemas"]["GoogleCloudRunV2Revision"]["properties"]
            about = {key: value for key, value in given["template"].items() if key in fields}
            conditions = [{"type": "Ready", "state": state, **says}]
            self.revisions[revision] = {**about, "name": revision, "conditions": conditions}
            service["latestReadyRevision"] = revision
        assert sum(target.get("percent", 0) for target in service["traffic"]) == 100
        for target in service["traffic"]:
            assert f"{name}/revisions/{target['revision']}" in self.revisions
        service["trafficStatuses"] = [
            {**target, **({"uri": self.service_uri} if "tag" in target else {})} for target in service["traffic"]
        ]
        shares = {target["revision"]: target.get("percent", 0) for target in service["traffic"]}
        if not name.endswith("-drift") and (not self.traffic or self.traffic[-1] != shares):
            self.traffic.append(shares)
        service["generation"] = str(int(service["generation"]) + 1)
        service["etag"] = f'"{service["generation"]}"'
        service["reconciling"] = 1
        return 200, self._operation(name.rpartition("/services/")[0], {}, failure)

    def _operation(self, parent: str, response: Json, failure: str | None = None) -> Json:
        name = f"{parent}/operations/{len(self._operations) + 1}"
        result = {"response": response} if failure is None else {"error": {"code": 5, "message": failure}}
        self._operations[name] = {"looks": 2, "answer": {"name": name, **result}}
        return {"name": name, "done": False}

    def _projects_secrets_versions_access(self, path: str, given: Json, query: dict[str, str]) -> tuple[int, Json]:
        return 200, {"name": path, "payload": {"data": base64.b64encode(self.keys.encode()).decode()}}

    # Cloud Monitoring: requests of a revision, as Cloud Run counts them

    def _projects_location_prometheus_api_v1_query(self, path: str, given: Json, query: Any) -> tuple[int, Json]:
        pattern = r"sum\(increase\(run_googleapis_com:request_count\{(.*)\}\[\d+m\]\)\)"
        wanted = dict(re.findall(r'(\w+)="([^"]*)"', re.fullmatch(pattern, given["query"])[1]))
        counts = self.failed if wanted.get("response_code_class") == "5xx" else self.answered
        value = counts.get(wanted["revision_name"])
        result = [] if value is None else [{"metric": {}, "value": [time.time(), str(value)]}]
        return 200, {"status": "success", "data": {"resultType": "vector", "result": result}}


@cache
def _key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem, format_, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return made.private_bytes(pem, format_, plain).decode()


def _claims(assertion: str) -> str:
    middle = assertion.split(".")[1]
    return base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)).decode()


def _token() -> str:
    """A signed-looking token that ends in an hour; nothing here checks signatures."""

    def part(content: Json) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    return ".".join([part({"alg": "none"}), part({"exp": int(time.time()) + 3600, "iat": int(time.time())}), "eA"])
