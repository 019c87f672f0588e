"""Google's REST interfaces, as far as jobs, models and services need them.

Paths, fields and types are those of Google's discovery documents (aiplatform v1, run v2, cloudscheduler v1,
monitoring v1 and, as ``alerting``, v3, secretmanager v1, iamcredentials v1).
"""

import base64
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from fraudlab.errors import UserError

HOSTS = {"aiplatform": "https://{region}-aiplatform.googleapis.com/v1/", "run": "https://run.googleapis.com/v2/",
          "cloudscheduler": "https://cloudscheduler.googleapis.com/v1/",
          "monitoring": "https://monitoring.googleapis.com/v1/",
          "alerting": "https://monitoring.googleapis.com/v3/",
          "secretmanager": "https://secretmanager.googleapis.com/v1/",
          "iamcredentials": "https://iamcredentials.googleapis.com/v1/"}  # fmt: skip
"""Where each interface answers."""
MARK = "fraudlab-digest"
"""Label or annotation that says what something was made of: its :func:`digest`, or the bundle's version."""
_ROLES = {
    "aiplatform": "roles/aiplatform.user, and roles/iam.serviceAccountUser on job.service_account",
    "run": "roles/run.developer, and roles/iam.serviceAccountUser on service.service_account and watch.service_account",
    "cloudscheduler": "roles/cloudscheduler.admin, and roles/iam.serviceAccountUser on watch.service_account",
    "monitoring": "roles/monitoring.viewer",
    "alerting": "roles/monitoring.alertPolicyEditor, roles/monitoring.notificationChannelEditor and "
    "roles/logging.configWriter",  # which policies of log lines need
    "secretmanager": "roles/secretmanager.secretAccessor on service.key_secret",
    "iamcredentials": "roles/iam.serviceAccountTokenCreator on itself",
}
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_LOGIN = "gcloud auth application-default login"
_TRIES = 5
_MOST_SECONDS = 1800  # that an operation may take
_RESOURCE_EXHAUSTED = 8  # of google.rpc.Code, in operations
_QUOTA = "a quota is used up; ask for more, choose another region, or run the same command later"
_CORRECT = "correct that, then type this command again"
_LATER = "nothing was lost; run the same command again, it goes on from what is there"

Json = dict[str, Any]


class Google:
    """Requests with the environment's credentials; what Google refuses becomes one message that says what to type.

    Args:
        project: whose resources are meant; None takes that of the credentials.
        region: of jobs, models and services.
        poll_seconds: between two looks at a long-running operation.

    Raises:
        UserError: there are no credentials, or no project.
    """

    def __init__(self, project: str | None, region: str, poll_seconds: float) -> None:
        import google.auth
        from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
        from google.auth.transport.requests import AuthorizedSession
        from requests.adapters import HTTPAdapter
        from requests.exceptions import RequestException
        from urllib3.util import Retry

        try:
            credentials, found = google.auth.default(scopes=[_SCOPE])
        except DefaultCredentialsError as error:
            raise UserError(f"there are no Google credentials ({error}); type: {_LOGIN}") from error
        self.project = project or found
        if not self.project:
            raise UserError("the credentials name no project; add project=<project>")
        self.region = region
        self.poll_seconds = poll_seconds
        self._parent = f"projects/{self.project}/locations/{region}"
        self._hosts = {
            api: os.environ.get(f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}", host.format(region=region))
            for api, host in HOSTS.items()
        }  # variables as gcloud's; gcloud has none for alerting, and with monitoring one for both
        self._failures = (GoogleAuthError, RequestException)
        self._session = AuthorizedSession(credentials)
        # Tried again is what was surely not done: a connection that was not made, and 429. What failed otherwise may
        # have been done, and a second job costs money.
        again = Retry(
            _TRIES, read=0, other=0, status_forcelist=[429], allowed_methods=None, backoff_factor=poll_seconds / 10,
            raise_on_status=False, respect_retry_after_header=False,
        )  # fmt: skip
        for prefix in ("https://", "http://"):
            self._session.mount(prefix, HTTPAdapter(max_retries=again))

    def own(self, path: str) -> str:
        """The name of a resource of the project and region: ``own("services/fraud")``."""
        return f"{self._parent}/{path}"

    def command(self, action: str, name: str) -> str:
        """What to type for an action on what has this name, here."""
        return f"python -m fraudlab.cloud action={action} project={self.project} region={self.region} name={name}"

    def call(self, api: str, method: str, path: str, body: Mapping[str, Any] | None = None, **query: str) -> Json:
        """The answer to a request.

        Args:
            api: a name of those in the module's text.
            method: of HTTP.
            path: without the version, as ``projects/p/locations/r/services/s``.
            body: sent as JSON.
            query: parameters of the address.

        Raises:
            UserError: Google refuses, or cannot be reached.
        """
        answer = self._asked(api, method, path, body, query)
        if answer.status_code >= 400:
            raise UserError(_refusal(api, path, answer))
        return answer.json()

    def find(self, api: str, path: str, **query: str) -> Json | None:
        """As :meth:`call` with GET; None where there is no such resource."""
        answer = self._asked(api, "GET", path, None, query)
        if answer.status_code == 404:
            return None
        if answer.status_code >= 400:
            raise UserError(_refusal(api, path, answer))
        return answer.json()

    def all(self, api: str, path: str, key: str, **query: str) -> list[Json]:
        """The items of every page of a list; none where what they belong to is not there."""
        found: list[Json] = []
        page = self.find(api, path, **query)
        while page is not None:
            found += page.get(key, [])
            token = page.get("nextPageToken")
            page = self.find(api, path, **query, pageToken=token) if token else None
        return found

    def wait(self, api: str, operation: Json) -> Json:
        """The response of a long-running operation once it is done.

        Raises:
            UserError: it failed.
        """
        found = [operation]

        def ended() -> bool:
            if not found[0].get("done"):
                found[0] = self.call(api, "GET", operation["name"])
            return bool(found[0].get("done"))

        if not until(ended, _MOST_SECONDS, self.poll_seconds):
            raise UserError(f"{operation['name']} is not done after {_MOST_SECONDS} s; {_LATER}")
        operation = found[0]
        if "error" in operation:
            error = operation["error"]
            what = _QUOTA if error.get("code") == _RESOURCE_EXHAUSTED else _CORRECT
            raise UserError(f"{str(error.get('message', error)).rstrip('.')}; {what}")
        return operation.get("response", {})

    def secret(self, name: str) -> str:
        """The newest version of a secret, as text."""
        found = self.call("secretmanager", "GET", f"projects/{self.project}/secrets/{name}/versions/latest:access")
        return base64.b64decode(found["payload"]["data"]).decode()

    def identity(self, audience: str) -> str | None:
        """A token that shows a private service who asks; None where the credentials can make none."""
        from google.auth import external_account, impersonated_credentials
        from google.auth.transport.requests import Request
        from google.oauth2 import id_token

        own = self._session.credentials
        try:
            if isinstance(own, impersonated_credentials.Credentials):
                made = impersonated_credentials.IDTokenCredentials(own, target_audience=audience, include_email=True)
                made.refresh(Request())
                return str(made.token)
            if isinstance(own, external_account.Credentials) and own.service_account_email:
                path = f"projects/-/serviceAccounts/{own.service_account_email}:generateIdToken"
                asked = {"audience": audience, "includeEmail": True}
                return str(self.call("iamcredentials", "POST", path, asked)["token"])
            return str(id_token.fetch_id_token(Request(), audience))
        except self._failures:
            return None

    def _asked(self, api: str, method: str, path: str, body: Any, query: Mapping[str, str]) -> Any:
        address = self._hosts[api].rstrip("/") + "/" + path
        try:
            return self._session.request(method, address, json=body, params=dict(query), timeout=60)
        except self._failures as error:
            if "RefreshError" in type(error).__name__:
                raise UserError(f"the Google credentials are not valid any more ({error}); type: {_LOGIN}") from error
            says = f"{self._hosts[api]} cannot be reached ({error}); check region and network"
            raise UserError(f"{says}; {_LATER}") from error


def digest(*content: Any) -> str:
    """32 hex digits of plain data."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def until(look: Callable[[], bool], seconds: float, poll: float) -> bool:
    """Whether ``look`` became true within ``seconds``."""
    end = time.monotonic() + seconds
    while not look():
        if time.monotonic() >= end:
            return False
        time.sleep(min(poll, max(end - time.monotonic(), 0)))
    return True


def _refusal(api: str, path: str, answer: Any) -> str:
    """What Google says, and what to type."""
    try:
        error = answer.json()["error"]
        says = str(error["message"]).rstrip(".")
    except (ValueError, KeyError, TypeError):
        return f"{api} answers {answer.status_code} for {path}; {_LATER}"
    reasons = [detail.get("reason") for detail in error.get("details", ())]
    if "SERVICE_DISABLED" in reasons:
        return f"{says}; type: gcloud services enable {'monitoring' if api == 'alerting' else api}.googleapis.com"
    what = {
        400: "check image, region and settings",
        401: f"type: {_LOGIN}",
        403: f"the account lacks a role; {api} needs {_ROLES[api]}",
        404: "check project, region and name",
        409: _LATER,
        429: _QUOTA,
    }
    return f"{says}; {what.get(answer.status_code, _LATER)}"
