"""The metrics as text, and a port of this machine alone where they need no key: for a collector that can send none."""

import asyncio
import socket
from contextlib import suppress

from fraudlab.serving.parts import Parts

TEXT = b"text/plain; version=0.0.4; charset=utf-8"
_LOOK_AGAIN = 0.1  # seconds between two looks at the process before a reload
_LOOKS = 20  # at whether it has told its counts
_SECONDS = 5.0  # for a collector to ask, and to read the answer


async def text(parts: Parts) -> bytes:
    """All metrics as they are now, in Prometheus's text format."""
    telemetry = parts.telemetry
    for _ in range(_LOOKS):
        if telemetry.waits:
            await asyncio.sleep(_LOOK_AGAIN)
    telemetry.queue.set(parts.dispatcher.waiting_records)
    telemetry.limit.set(parts.admission.limit)
    telemetry.ready.set(parts.lifecycle.ready)
    telemetry.workers.set(parts.dispatcher.connected)
    telemetry.workers_wanted.set(parts.dispatcher.wanted)
    if (recorder := parts.recorder) is not None:
        telemetry.recorded(*recorder.news(), recorder.journal.backlog)
    if parts.lifecycle.has_successor:
        telemetry.hand_over()  # so that the successor's counts are none less than those that are shown here
    return telemetry.page()


async def listen(listening: socket.socket, parts: Parts) -> asyncio.Server:
    """Answer ``GET /metrics`` on a bound socket, one request a connection, and nothing else."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                known = head.startswith(b"GET /metrics ")
                body = await text(parts) if known else b"there is: GET /metrics\n"
                about = b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
                writer.write(about % (b"200 OK" if known else b"404 Not Found", TEXT, len(body)) + body)
                await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, sock=listening)
