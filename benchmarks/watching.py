"""Debian's Prometheus and Alertmanager (apt-get install prometheus prometheus-alertmanager), as a user starts them."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.serving.servers import HOST, free_port
from fraudlab.files import write_text
from fraudlab.monitoring.stack.__main__ import write

PROMETHEUS = shutil.which("prometheus")
ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")


class Ports(NamedTuple):
    """Where they listen."""

    prometheus: int
    alertmanager: int


@contextlib.contextmanager
def watched(folder: Path, servers: Sequence[int], key: str, webhook: str, speed: float) -> Iterator[Ports]:
    """Both, until the block ends, with the rules of this project at ``speed`` times their speed.

    Args:
        folder: of their files; it is there.
        servers: ports of the servers that are watched.
        key: for their ``/metrics``.
        webhook: address that is told of alerts, at ``/page`` and ``/ticket``.
        speed: see :func:`fraudlab.monitoring.stack.rules.rules`.
    """
    assert PROMETHEUS is not None
    assert ALERTMANAGER is not None
    ports = Ports(free_port(), free_port())
    folder = folder.absolute()
    write_text(folder / "key", key)
    targets = [f"{HOST}:{port}" for port in servers]
    urls = [f"{webhook}/{name}" for name in ("page", "ticket")]
    write(folder, targets, [f"{HOST}:{ports.alertmanager}"], str(folder / "key"), urls, speed)
    listen = "--web.listen-address"
    commands = {
        "prometheus": [PROMETHEUS, f"--storage.tsdb.path={folder}/data", f"{listen}={HOST}:{ports.prometheus}"],
        "alertmanager": [
            ALERTMANAGER,
            f"--storage.path={folder}/alerts",
            f"{listen}={HOST}:{ports.alertmanager}",
            "--cluster.listen-address=",
        ],
    }
    processes = []
    try:
        for name, words in commands.items():
            with (folder / f"{name}.log").open("w") as log:
                command = [*words, f"--config.file={folder}/{name}.yml"]
                processes.append(subprocess.Popen(command, stdout=log, stderr=log))
        yield ports
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(20)
