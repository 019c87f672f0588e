"""Build the server of a bundle and run it until SIGTERM."""

import gc
import multiprocessing
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import litserve
import orjson

from fraudlab import __version__, bundle
from fraudlab.config.serve import ServingConfig
from fraudlab.errors import UserError
from fraudlab.serving import openapi, recording
from fraudlab.serving.admission import Admission
from fraudlab.serving.app import Face, Parts
from fraudlab.serving.contract import Contract
from fraudlab.serving.dispatch import Dispatcher
from fraudlab.serving.keys import Keys
from fraudlab.serving.lifecycle import Lifecycle
from fraudlab.serving.protocol import Connections, Reader
from fraudlab.serving.telemetry import Telemetry
from fraudlab.serving.worker import FraudAPI, open_history

_FURTHER_FILES = 200  # beside the connections: queues, pipes, libraries
_MONITOR_SECONDS = 0.2  # LitServe looks for dead workers so often


def run(path: str, settings: ServingConfig) -> None:
    """Serve the bundle at ``path`` until SIGTERM or SIGINT; returns once all that was accepted is answered.

    Raises:
        UserError: bundle, key or history cannot be used, or the bundle does not give its golden scores.
    """
    _allow_files(settings.max_connections + settings.probe_connections)
    loaded = bundle.load(path)
    loaded.check()  # each worker does it again; here it can be told in one line
    if settings.history is not None:
        open_history(settings.history, loaded).close()
    recorder = _recorder(loaded, settings)
    folder = TemporaryDirectory(prefix="fraudlab-")  # of this user alone
    line = Path(folder.name) / "line"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(line))
    listener.listen()
    server, protocol = _server(loaded, recorder, settings, line, listener)
    del loaded
    gc.collect()
    gc.freeze()  # what lives as long as the server need not be looked through again
    own = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        # Forked processes inherit this and have their own way to end; a second signal must not break off the end.
        if os.getpid() == own and not server.stopping:
            server.stopping = True
            raise KeyboardInterrupt  # LitServe's only orderly way out

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        server.run(
            host=settings.host,
            port=settings.port,
            num_api_servers=1,  # one process has all the counts and the queue; more machines, not more doors
            log_level="warning",
            generate_client_file=False,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # nothing here asks who the client is
            http=protocol,
            ws="none",
            loop="uvloop",
        )
    except RuntimeError as error:
        if "failed to start" not in str(error):
            raise
        raise UserError(f"the workers could not use the bundle {path}; the log above says why") from error
    except KeyboardInterrupt:
        pass  # told to stop before it ran
    finally:
        server.stopping = True
        folder.cleanup()
        if recorder is not None:
            recorder.close()
        for process in multiprocessing.active_children():
            process.terminate()
    if server.died:
        raise UserError("the process that answers HTTP died; the log above may say why, or the system's log")


class _Server(litserve.LitServer):
    """LitServe's server, which looks after its workers alone: this one ends where the process that answers HTTP dies.

    Attributes:
        stopping: whether the end has begun.
        died: whether it was that process that began it.
    """

    stopping = False
    died = False

    def _start_server(self, *args: Any, **options: Any) -> dict[int, Any]:
        processes: dict[int, Any] = super()._start_server(*args, **options)
        threading.Thread(target=self._watch, args=(processes[0].sentinel,), daemon=True).start()
        return processes

    def _watch(self, sentinel: int) -> None:
        wait([sentinel])
        if not self.stopping:
            self.died = True
            os.kill(os.getpid(), signal.SIGTERM)  # interrupts the main thread, which LitServe lets wait


def _allow_files(connections: int) -> None:
    """Raise the limit of open files, of which each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + _FURTHER_FILES
    if soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise UserError(
                f"serving.max_connections={connections} needs {needed} open files, and this machine allows {hard}; "
                f"raise its limit (ulimit -Hn) or set serving.max_connections={max(1, hard - _FURTHER_FILES)}"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _recorder(loaded: bundle.Bundle, settings: ServingConfig) -> recording.Recorder | None:
    if settings.record_to is None:
        return None
    return recording.Recorder(
        Path(settings.record_to),
        loaded.schema,
        loaded.version,
        recording.hashed_columns(loaded.schema, settings.hash_columns),
        recording.hash_key(),
        settings.record_share,
        settings.record_rows,
        settings.record_files,
    )


def _server(
    loaded: bundle.Bundle,
    recorder: recording.Recorder | None,
    settings: ServingConfig,
    line: Path,
    listener: socket.socket,
) -> tuple[_Server, Callable[..., Reader]]:
    """LitServe's server, and how its connections are made."""
    keys = Keys.read(settings.api_key_file)
    api = FraudAPI(str(loaded.path), loaded.version, settings.history, line)
    server = _Server(
        api,
        accelerator="cpu",
        workers_per_device=settings.workers,
        timeout=False,  # deadlines are kept where requests wait
        restart_workers=True,
        healthcheck_path="/litserve/health",
        info_path="/litserve/info",
    )
    server.monitor_internal = _MONITOR_SECONDS
    server.uvicorn_graceful_timeout = settings.grace
    telemetry = Telemetry(loaded.version)
    info = {
        "fraudlab_version": __version__,
        "bundle_version": loaded.version,
        "bundle": {key: value for key, value in loaded.manifest.items() if key != "files"},
        "schema": loaded.schema,
        "metrics": loaded.metrics,
        "decision": asdict(loaded.decision),
        "explains": loaded.has_masks,
    }
    contract = Contract(
        loaded.schema, max_records=settings.max_records, refuse_unknown=settings.unknown_fields == "refuse"
    )
    dispatcher = Dispatcher(
        listener,
        workers=settings.workers,
        max_batch_size=settings.max_batch_size,
        max_queue=settings.max_queue,
        on_batch=telemetry.batch,
        on_failure=telemetry.restarts.inc,
    )
    lifecycle = Lifecycle(dispatcher, settings.drain)
    admission = Admission(settings.max_wait, settings.max_queue)
    parts = Parts(
        settings,
        keys,
        contract,
        admission,
        dispatcher,
        telemetry,
        lifecycle,
        recorder,
        loaded.version,
        orjson.dumps(info),
    )
    described = openapi.document(loaded.schema, settings, loaded.version, keyed=keys.needed)
    server.app.openapi = lambda: described
    server.app.add_middleware(Face, parts=parts)
    connections = Connections(settings, admission, telemetry.refused, lambda: lifecycle.draining)
    return server, partial(Reader, connections)
