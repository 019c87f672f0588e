"""Build the server of a bundle and run it until SIGTERM."""

import gc
import multiprocessing
import os
import signal
from dataclasses import asdict
from pathlib import Path
from types import FrameType

import litserve
import orjson

from fraudlab import __version__, bundle
from fraudlab.config.serve import ServingConfig
from fraudlab.errors import UserError
from fraudlab.serving import openapi, recording
from fraudlab.serving.app import Face, Parts
from fraudlab.serving.contract import Contract
from fraudlab.serving.dispatch import Bridge, Dispatcher
from fraudlab.serving.keys import Keys
from fraudlab.serving.lifecycle import Lifecycle
from fraudlab.serving.telemetry import Telemetry
from fraudlab.serving.worker import FraudAPI

_MONITOR_SECONDS = 0.2  # LitServe looks for dead workers so often


def run(path: str, settings: ServingConfig) -> None:
    """Serve the bundle at ``path`` until SIGTERM or SIGINT; returns once all that was accepted is answered.

    Raises:
        UserError: bundle, key or history cannot be used.
    """
    loaded = bundle.load(path)
    recorder = _recorder(loaded, settings)
    server = _server(loaded, recorder, settings)
    del loaded
    gc.collect()
    gc.freeze()  # what lives as long as the server need not be looked through again
    own = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() == own:  # forked processes inherit this and have their own way to end
            raise KeyboardInterrupt  # LitServe's only orderly way out

    signal.signal(signal.SIGTERM, stop)
    try:
        server.run(
            host=settings.host,
            port=settings.port,
            num_api_servers=1,  # one process has all the counts and the queue; more machines, not more doors
            log_level="warning",
            generate_client_file=False,
            access_log=False,
            server_header=False,
            http="httptools",
            loop="uvloop",
        )
    except RuntimeError as error:
        if "failed to start" not in str(error):
            raise
        raise UserError(f"the workers could not use the bundle {path}; the log above says why") from error
    except KeyboardInterrupt:
        pass  # told to stop before it ran
    finally:
        if recorder is not None:
            recorder.close()
        for process in multiprocessing.active_children():
            process.terminate()


def _recorder(loaded: bundle.Bundle, settings: ServingConfig) -> recording.Recorder | None:
    if settings.record_to is None:
        return None
    return recording.Recorder(
        Path(settings.record_to),
        loaded.schema,
        loaded.version,
        recording.hash_key(),
        settings.record_share,
        settings.record_rows,
        settings.record_files,
    )


def _server(loaded: bundle.Bundle, recorder: recording.Recorder | None, settings: ServingConfig) -> litserve.LitServer:
    keys = Keys.read(settings.api_key_file)
    bridge = Bridge()
    api = FraudAPI(str(loaded.path), settings.history, bridge)
    server = litserve.LitServer(
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
        bridge,
        workers=settings.workers,
        max_batch_size=settings.max_batch_size,
        max_queue=settings.max_queue,
        on_batch=telemetry.batch,
    )
    lifecycle = Lifecycle(lambda: server.workers_setup_status, settings.drain, telemetry.restarts.inc)
    parts = Parts(
        settings, keys, contract, dispatcher, telemetry, lifecycle, recorder, loaded.version, orjson.dumps(info)
    )
    described = openapi.document(loaded.schema, settings, loaded.version)
    server.app.openapi = lambda: described
    server.app.add_middleware(Face, parts=parts)
    return server
