"""A bundle in service: its workers, the process that answers HTTP, and the record's writer.

LitServe keeps the processes; what decides when one is started, replaced or ended stands here. A reload starts the next
generation on the same sockets before it ends the one before.
"""

import asyncio
import logging
import multiprocessing
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import litserve
import orjson
from litserve.utils import WorkerSetupStatus
from starlette.middleware.cors import CORSMiddleware

from fraudlab import bundle
from fraudlab.bundle.contract import served
from fraudlab.config import plugins
from fraudlab.config.serve import ServingConfig
from fraudlab.errors import UserError
from fraudlab.serving import about, collected, openapi, recording
from fraudlab.serving.addresses import Sockets
from fraudlab.serving.admission import Admission
from fraudlab.serving.app import Middleware
from fraudlab.serving.challenger import Challenger
from fraudlab.serving.connections import Connections, Reader
from fraudlab.serving.contract import Contract
from fraudlab.serving.dispatch import Dispatcher
from fraudlab.serving.drift import LiveDrift
from fraudlab.serving.history.store import StoreAway
from fraudlab.serving.keys import Keys
from fraudlab.serving.lifecycle import Lifecycle
from fraudlab.serving.pages import json_answer, pages
from fraudlab.serving.parts import READABLE, Parts
from fraudlab.serving.people import Alerts, DriftOfAll, Performance
from fraudlab.serving.protocol import Protocol
from fraudlab.serving.shadow import Shadow
from fraudlab.serving.telemetry import Telemetry
from fraudlab.serving.worker import FraudAPI, open_history

_log = logging.getLogger(__name__)
_START_SECONDS = 120.0  # that a worker may take to get ready
_HEADERS = ["Authorization", "Content-Type", "X-API-Key", "X-Request-ID", "traceparent"]


class Generation:
    """See the module's text; nothing runs before :meth:`start_workers`, but for the record's writer.

    Args:
        path: of the bundle.
        settings: of the server.
        folder: for its socket and its counts.
        number: of the generations before it.
        metrics: bound socket for a collector of metrics; None where none is expected.

    Attributes:
        version: of the bundle.

    Raises:
        UserError: bundle, key or history cannot be used, or the bundle does not give its golden scores.
    """

    def __init__(
        self, path: str, settings: ServingConfig, folder: Path, number: int, metrics: socket.socket | None
    ) -> None:
        loaded = bundle.load(path)
        loaded.check()  # each worker does it again; here it can be told in one line
        if settings.history is not None:
            _look_at_history(settings.history, loaded, required=settings.history_required)
        keys = Keys(settings.api_key_file)
        form = recording.form_of(loaded, settings)
        shadow = None if settings.challenger is None else Challenger(loaded, settings, folder / f"shadow{number}")
        self._challenger = shadow
        self.version = loaded.version
        self._settings = settings
        self._failed_starts: Any = multiprocessing.Value("q", 0, lock=False)  # told to the process that answers HTTP
        self._retired: Any = multiprocessing.Value("b", 0, lock=False)
        self.number = number
        self._before = folder / f"counts{number - 1}.json" if number else None
        self._counts = folder / f"counts{number}.json"
        line = folder / f"line{number}"
        line.unlink(missing_ok=True)  # of a generation that could not start
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(line))
        self._listener.listen()
        self._server = litserve.LitServer(
            FraudAPI(
                str(loaded.path.resolve()),  # of a link that may lead elsewhere by the time a worker is replaced
                loaded.version,
                settings.history,
                line,
                form,
                plugins.loaded(),
                history_required=settings.history_required,
            ),
            accelerator="cpu",
            workers_per_device=settings.workers,
            timeout=False,  # deadlines are kept where requests wait
            restart_workers=True,
            healthcheck_path="/litserve/health",
            info_path="/litserve/info",
        )
        self._server.uvicorn_graceful_timeout = settings.grace
        version = None if shadow is None else shadow.version
        self._recorder = None if form is None else recording.Recorder(loaded, form, settings, version)
        self._protocol = self._assemble(loaded, keys, metrics)
        self._manager: Any = None
        self._http: Any = None
        self._launched: list[float] = []
        self._failures = [0] * settings.workers

    def start_workers(self) -> None:
        """Start them, without waiting for one to be ready."""
        self._manager = self._server._init_manager(1)
        self._server.inference_workers = self._server.launch_inference_worker(self._server.lit_api)
        self._launched = [time.monotonic()] * self._settings.workers
        if self._challenger is not None:
            self._challenger.start()

    def start_http(self, sockets: Sockets) -> None:
        """Start the process that answers HTTP on these sockets."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # until it has its own way to end
        self._http = self._server._start_server(
            self._settings.port,
            1,  # one process has all the counts and the queue; more machines, not more processes
            "warning",
            sockets,
            "process",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # nothing here asks who the client is
            http=self._protocol,
            ws="none",
            loop="uvloop",
        )[0]
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        self._listener.close()

    @property
    def sentinels(self) -> list[int]:
        """What becomes ready where a process ends."""
        processes = [*self._server.inference_workers, *([self._http] if self._http else [])]
        return [process.sentinel for process in processes]

    @property
    def can_score(self) -> bool:
        """Whether a worker is ready."""
        return any(self._is_ready(number) for number in range(self._settings.workers))

    def tend(self, tries: int) -> None:
        """Start another worker for each that has ended.

        Args:
            tries: starts of a worker, one after the other, that may fail.

        Raises:
            UserError: so many have failed, or a process that cannot be replaced has ended.
        """
        if self._recorder is not None:
            self._recorder.tend()
        if self._challenger is not None:
            self._challenger.tend()
        if self._http is not None and not self._http.is_alive():
            raise UserError("the process that answers HTTP died; the log above may say why, or the system's log")
        try:
            for number in range(self._settings.workers):
                self._tend(number, tries)
        except (EOFError, ConnectionError) as error:
            raise UserError("the process that keeps the state of the workers died; start the server again") from error

    def _tend(self, number: int, tries: int) -> None:
        worker = self._server.inference_workers[number]
        ready = self._is_ready(number)
        if worker.is_alive():
            if ready:
                self._failures[number] = 0
            elif time.monotonic() - self._launched[number] > _START_SECONDS:
                worker.kill()
            return
        if not ready:
            self._failed_starts.value += 1
            self._failures[number] += 1
            if self._failures[number] >= tries:
                raise UserError(
                    f"a worker could not start, tried {tries} times in a row; the log above says why. "
                    "Correct it, or export the bundle again, and start the server again"
                )
        self._server.inference_workers[number] = self._server.launch_single_inference_worker(
            self._server.lit_api, number
        )
        self._launched[number] = time.monotonic()

    def _is_ready(self, number: int) -> bool:
        return bool(self._server.workers_setup_status[f"predict_{number}"] == WorkerSetupStatus.READY)

    def retire(self) -> None:
        """:meth:`stop`, where a successor answers on the same sockets."""
        self._retired.value = 1
        self.stop()
        if self._before is not None:
            self._before.unlink(missing_ok=True)
        if not self._counts.is_file():  # killed before it could say: the successor need not wait
            aside = self._counts.with_suffix(".none")
            with suppress(OSError):  # on a full disk an empty file would be left
                aside.write_text("{}")
                aside.replace(self._counts)

    def stop(self) -> None:
        """End its processes, once all that was accepted is answered."""
        if self._manager is not None:
            http = {} if self._http is None else {0: self._http}
            self._server._perform_graceful_shutdown(self._manager, http, "keyboard_interrupt")
        if self._recorder is not None:
            self._recorder.close()
        if self._challenger is not None:
            self._challenger.close()
        self._listener.close()

    def _assemble(self, loaded: bundle.Bundle, keys: Keys, metrics: socket.socket | None) -> Callable[..., Reader]:
        """Put the app around LitServe's, and give what makes a connection's protocol."""
        settings = self._settings
        drift = None if loaded.reference["columns"] is None else LiveDrift(loaded)
        created = datetime.fromisoformat(loaded.manifest["created"])
        performance = None if self._recorder is None else Performance(self._recorder.folder)
        telemetry = Telemetry(loaded.version, self._before, self._counts, drift, created)
        if performance is not None:
            telemetry.show(performance)
        schema = served(loaded.schema, loaded.features, history=settings.history is not None)
        named = recording.hashed_columns(loaded.schema, settings.hash_columns if settings.record_to else ())
        described = openapi.document(schema, settings, loaded.version, keyed=keys.needed)
        told = {
            "/info": (READABLE, about.info(loaded, schema, settings)),
            "/training": (READABLE, about.training(loaded, named)),
            "/card": (READABLE, about.model_card(loaded)),
            "/examples": (frozenset(["read"]), about.examples(loaded)),  # whole transactions
            "/openapi.json": (READABLE, orjson.dumps(described)),
        }
        contract = Contract(
            schema, max_records=settings.max_records, refuse_unknown=settings.unknown_fields == "refuse"
        )
        dispatcher = Dispatcher(
            self._listener,
            workers=settings.workers,
            max_batch_size=settings.max_batch_size,
            max_queue=settings.max_queue,
            late=settings.timeout,
            hung=settings.worker_timeout,
            on_batch=telemetry.batch,
            on_counts=drift.add if drift is not None else lambda counts: None,
            on_failure=telemetry.restarts.inc,
        )
        shadow = None
        if self._challenger is not None and self._recorder is not None:
            shadow = Shadow(
                self._challenger.version,
                self._challenger.listener,
                self._recorder.journal,
                self._challenger.hung,
            )
            for metric in shadow.metrics:
                telemetry.count(metric)
        listen: list[Callable[[], Awaitable[asyncio.Server]]] = [dispatcher.listen]
        if shadow is not None:
            listen.append(shadow.listen)
        lifecycle = Lifecycle(
            listen,
            dispatcher,
            settings.drain,
            self._failed_starts,
            self._retired,
            on_failure=telemetry.restarts.inc,
            hand_over=partial(_hand_over, telemetry, self._recorder),
        )
        admission = Admission(settings.max_wait, settings.max_queue)
        parts = Parts(
            settings,
            keys,
            contract,
            admission,
            dispatcher,
            telemetry,
            lifecycle,
            self._recorder,
            shadow,
            drift,
            None if settings.drift_from is None else DriftOfAll(settings.drift_from),
            None if self._recorder is None else Alerts([field["name"] for field in schema["fields"]]),
            performance,
            loaded.decision.budget,
            loaded.version,
            {path: (scopes, json_answer(content)) for path, (scopes, content) in told.items()},
            pages(page=settings.page),
        )
        if metrics is not None:
            listen.append(partial(collected.listen, metrics, parts))
        self._server.app.add_middleware(Middleware, parts=parts)
        if settings.cors_origins:
            self._server.app.add_middleware(
                CORSMiddleware,
                allow_origins=settings.cors_origins,
                allow_methods=["GET", "POST"],
                allow_headers=_HEADERS,
                expose_headers=["Retry-After", "X-Request-ID", "traceparent"],
            )
        connections = Connections(settings, admission, telemetry.refused, lambda: lifecycle.draining)
        return lambda **uvicorn: Reader(Protocol(connections, **uvicorn))


def _look_at_history(address: str, loaded: bundle.Bundle, *, required: bool) -> None:
    history = open_history(address, loaded, wait=not required)
    try:
        for concern in history.concerns():
            _log.warning("the history: %s", concern)
    except StoreAway as error:
        _log.warning("the history: %s; until it does, transactions are scored without their past", error)
    finally:
        history.close()


def _hand_over(telemetry: Telemetry, recorder: recording.Recorder | None) -> None:
    """Hand over the counts, with the records that were lost since they were last asked for."""
    if recorder is not None:
        telemetry.recorded(*recorder.news(), recorder.journal.backlog)
    telemetry.hand_over()
