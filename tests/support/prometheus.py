"""Debian's Prometheus and Alertmanager (apt-get install prometheus prometheus-alertmanager), as a user starts them."""

import json
import shutil
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from benchmarks.watching import watched
from tests.support.server import until

PROMTOOL, AMTOOL = (shutil.which(name) for name in ("promtool", "amtool"))


class Webhook:
    """What Alertmanager tells, by name of the alert: the last status."""

    def __init__(self) -> None:
        told = self.told = {}

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                for alert in said["alerts"]:
                    told.setdefault(alert["labels"]["alertname"], []).append((alert["status"], self.path))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *words: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Stack:
    """Both, with the committed rules at ``speed`` times their speed.

    Args:
        folder: of their files.
        targets: ports of the servers.
        key: for /metrics.
        speed: see :func:`fraudlab.monitoring.stack.rules.rules`.
    """

    def __init__(self, folder: Path, targets: Sequence[int], key: str, speed: float = 60.0) -> None:
        self.webhook = Webhook()
        self._watched = watched(folder, targets, key, self.webhook.address, speed)
        self.port = self._watched.__enter__().prometheus

    def query(self, expression: str) -> list[Any]:
        """An instant query's result; none while Prometheus does not answer yet."""
        words = urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/query?{words}", timeout=5) as answer:
                return list(json.load(answer)["data"]["result"])
        except urllib.error.HTTPError as error:
            if error.code != 503:  # which says that it starts
                raise AssertionError(f"{expression}: {error.read().decode()}") from error
            return []
        except OSError:
            return []

    def fires(self, name: str, seconds: float = 90) -> None:
        """Wait until the webhook was told that it fires."""
        until(lambda: "firing" in [status for status, _ in self.webhook.told.get(name, [])], seconds)

    def resolves(self, name: str, seconds: float = 120) -> None:
        """Wait until the webhook was told that it is over."""
        until(lambda: self.webhook.told.get(name, [("", "")])[-1][0] == "resolved", seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._watched.__exit__(None, None, None)
        self.webhook.server.shutdown()
