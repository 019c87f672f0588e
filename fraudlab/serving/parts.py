"""What the app is made of: a request, who may ask for a path, and all that answers need."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from fraudlab.config.serve import ServingConfig
from fraudlab.serving.admission import Admission
from fraudlab.serving.contract import Contract
from fraudlab.serving.dispatch import Dispatcher
from fraudlab.serving.drift import LiveDrift
from fraudlab.serving.keys import Key, Keys
from fraudlab.serving.lifecycle import Lifecycle
from fraudlab.serving.pages import FixedAnswer, Headers
from fraudlab.serving.people import Alerts, DriftOfAll, Performance
from fraudlab.serving.recording import Recorder
from fraudlab.serving.request import Receive, Scope
from fraudlab.serving.shadow import Shadow
from fraudlab.serving.telemetry import Telemetry


class Asked(NamedTuple):
    """A request, whose it is, and headers that its answer has besides the usual ones."""

    scope: Scope
    receive: Receive
    request_id: str
    key: Key
    headers: Headers


READABLE = frozenset(["read", "score"])
"""Scopes that open what is told of the bundle: who asks for scores may read what they rest on."""

Handler = Callable[[Asked], Awaitable[tuple[int, bytes, bytes]]]


@dataclass(frozen=True)
class Route:
    """Who may ask for a path, and what answers.

    Attributes:
        method: GET or POST.
        scopes: one of which a key must have; empty where no key is needed.
        handler: gives status, body and media type.
    """

    method: str
    scopes: frozenset[str]
    handler: Handler


@dataclass(frozen=True)
class Parts:
    """What the middleware needs.

    Attributes:
        shadow: line to a challenger; None without one.
        drift_of_all: report that is answered in the place of this instance's own; None where there is none.
        alerts: the latest; None without a record.
        performance: reports that are kept in the record; None without one.
        budget: alerts per 1,000 by level.
        told: answers that are told of the bundle, and who may have them, by path.
        pages: files of ``/`` and ``/docs`` by path.
    """

    settings: ServingConfig
    keys: Keys
    contract: Contract
    admission: Admission
    dispatcher: Dispatcher
    telemetry: Telemetry
    lifecycle: Lifecycle
    recorder: Recorder | None
    shadow: Shadow | None
    drift: LiveDrift | None
    drift_of_all: DriftOfAll | None
    alerts: Alerts | None
    performance: Performance | None
    budget: Mapping[str, float]
    version: str
    told: Mapping[str, tuple[frozenset[str], FixedAnswer]]
    pages: Mapping[str, FixedAnswer]
