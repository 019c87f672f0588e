"""A proxy in front of a real server: it refuses every other request, and the server behind it may go away."""

import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

_HOP = ("connection", "content-length", "transfer-encoding", "date", "server", "host")


class Gate:
    """Passes requests on.

    Attributes:
        port: of the proxy.
        behind: port of the server; None: connections end without an answer.
        also: port of another server, which answers every other request; None: there is none.
        login: answer 200 with a page of HTML, as a proxy does that wants a password.
        busy: answer every other ``POST /predict`` with 429.
        waits: the seconds that ``Retry-After`` then says, in turn; the last one from then on.
        refused: requests that were answered 429.
        scored: the records of requests that were answered 200.
    """

    def __init__(self, behind: int) -> None:
        self.behind: int | None = behind
        self.also: int | None = None
        self.login = False
        self.busy = False
        self.waits = [0]
        self.refused = 0
        self.scored: list[dict[str, Any]] = []
        self._asked = 0
        self._passed = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])

    def _turn(self) -> int | None:
        """Seconds to wait where this request is refused."""
        with self._lock:
            self._asked += 1
            if not self.busy or self._asked % 2:
                return None
            self.refused += 1
            return self.waits.pop(0) if len(self.waits) > 1 else self.waits[0]

    def _port(self) -> int | None:
        """Of the server that this request is for."""
        with self._lock:
            self._passed += 1
            return self.behind if self.also is None or self._passed % 2 else self.also

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                wait = gate._turn() if self.path.startswith("/predict") else None
                if wait is not None:
                    return self._say(429, {"Retry-After": str(wait)}, b'{"error": "too many requests wait"}')
                if gate.login:
                    return self._say(200, {"Content-Type": "text/html"}, b"<h1>Log in</h1>")
                port = gate._port()
                if port is None:
                    self.close_connection = True
                    return None
                line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                try:
                    line.request(self.command, self.path, body or None, dict(self.headers))
                    answer = line.getresponse()
                    content = answer.read()
                except (OSError, http.client.HTTPException):
                    self.close_connection = True
                    return None
                finally:
                    line.close()
                headers = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP}
                self._say(answer.status, headers, content)
                if self.path.startswith("/predict") and answer.status == 200:
                    with gate._lock:
                        sent = json.loads(body)
                        gate.scored += sent if isinstance(sent, list) else [sent]
                return None

            do_POST = do_GET

            def _say(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
