"""The server's HTTP/1.1 over real sockets, before an app of the tests' own, and its clients."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
import uvloop
from uvicorn.server import ServerState

from fraudlab.config.serve import ServingConfig
from fraudlab.serving.admission import Admission
from fraudlab.serving.connections import Connections, Reader
from fraudlab.serving.protocol import Protocol

PATIENCE = 0.3  # of the server with its clients
LIVE = b"GET /health/live HTTP/1.1\r\nHost: server\r\n\r\n"


def head(path: bytes, length: int, more: bytes = b"") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: server\r\n%bContent-Length: %d\r\n\r\n" % (path, more, length)


def chunked(*parts: bytes) -> bytes:
    return b"POST /x HTTP/1.1\r\nHost: server\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(parts)


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.headers: dict[str, str] = {}

    async def answer(self) -> tuple[int, bytes]:
        start = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        self.headers = {line.split(": ")[0].lower(): line.split(": ")[1] for line in start.split("\r\n")[1:] if line}
        return int(start[9:12]), await self.reader.readexactly(int(self.headers["content-length"]))

    async def is_shown_out(self, drip: bytes = b"") -> None:
        """Wait for the end of the connection, sending ``drip`` all the while."""
        while not self.reader.at_eof():
            self.writer.write(drip)
            try:
                await asyncio.wait_for(self.reader.read(1000), 0.1)
            except TimeoutError:
                continue
            except ConnectionError:
                return


Connect = Callable[..., Awaitable[Client]]


class Service:
    """The protocol with an app that echoes a body after ``seconds``, or refuses ``/closed`` before it has the body."""

    def __init__(self, seconds: float = 0, most: int = 10, **settings: Any) -> None:
        self.bodies: list[bytes] = []
        self.scopes: list[Any] = []
        self.refusals: Counter[int] = Counter()
        self._seconds = seconds
        kept = {"max_body_bytes": 1024, "max_connections": 10, "keep_alive": 1, "client_timeout": PATIENCE}
        self.settings = ServingConfig(**{**kept, **settings})
        self.connections = Connections(self.settings, Admission(0.2, most), self._refused, lambda: False)
        self.state = ServerState()

    def _refused(self, status: int) -> None:
        self.refusals[status] += 1

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        body, more = b"", scope["path"] != "/closed"
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.bodies.append(body)
        await asyncio.sleep(self._seconds)
        status = 401 if scope["path"] == "/closed" else 200
        length = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": length})
        await send({"type": "http.response.body", "body": body})

    @asynccontextmanager
    async def opens(self) -> AsyncIterator[Connect]:
        """Give what makes a client."""
        config = uvicorn.Config(self._app, interface="asgi3", log_config=None, ws="none", lifespan="off")
        config.load()

        def protocol() -> Reader:
            return Reader(Protocol(self.connections, config=config, server_state=self.state, app_state={}))

        async with await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]

            async def client(*parts: bytes) -> Client:
                made = Client(*await asyncio.open_connection("127.0.0.1", port))
                for part in parts:
                    made.writer.write(part)
                    await asyncio.sleep(0.05)
                return made

            yield client


def run(story: Callable[[], Awaitable[None]]) -> None:
    uvloop.run(asyncio.wait_for(story(), 20))  # type: ignore[arg-type]
