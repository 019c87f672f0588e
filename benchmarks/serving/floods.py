"""What a server holds and how others fare while clients misbehave: ``python -m benchmarks.serving --only floods``.

The clients that misbehave are a process of their own, ``python -m benchmarks.serving.floods <kind> <port> <seconds>``.
"""

import asyncio
import http.client
import json
import resource
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import uvloop

from benchmarks.serving import servers
from benchmarks.serving.load import post

MOST_MEGABYTES = 50  # that the process that answers HTTP may grow by
MEDIAN, WORST = 50, 250  # milliseconds of others' /health/live
PLACES = 2000
_CLIENTS = 10_000
_LIVE = b"GET /health/live HTTP/1.1\r\nHost: server\r\n\r\n"
_SMALL = post("/predict", b'{"TransactionDT": 86400, "TransactionAmt": 12.5}')


async def _heads(port: int) -> None:
    """Headers without end."""
    await _sends(port, b"GET / HTTP/1.1\r\nHost: server\r\n", b"A: b\r\n" * 20_000)


async def _pipelines(port: int) -> None:
    """Requests without end, whose answers are not read."""
    await _sends(port, b"", _LIVE * 2000)


async def _slow_readers(port: int) -> None:
    """Requests for the largest answer, none of which is read."""
    await _sends(port, b"", b"GET /info HTTP/1.1\r\nHost: server\r\n\r\n" * 500)


async def _values(port: int) -> None:
    """Records of one long value, one after the other."""
    request = post("/predict", json.dumps({"TransactionDT": 86400, "TransactionAmt": 1, "x": "v" * 1_000_000}).encode())
    reader, writer = await asyncio.open_connection(servers.HOST, port)
    while True:
        writer.write(request)
        await _answer(reader)


async def _crowd(port: int) -> None:
    """A client that asks each second and keeps its connection, if it has one."""
    reader, writer = await asyncio.open_connection(servers.HOST, port)
    try:
        while True:
            writer.write(_SMALL)
            await _answer(reader)
            await asyncio.sleep(1)
    finally:
        writer.close()


FLOODS: dict[str, tuple[Callable[[int], Awaitable[None]], int]] = {
    "header flood": (_heads, 20),
    "pipelining flood": (_pipelines, 200),
    "slow readers": (_slow_readers, 500),
    "1 MB values": (_values, 100),
    f"{_CLIENTS:,} clients, {PLACES:,} places": (_crowd, _CLIENTS),
}


async def _answer(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))


async def _sends(port: int, start: bytes, again: bytes) -> None:
    """Send for as long as the server takes it, and read nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    with client:
        await loop.sock_connect(client, (servers.HOST, port))
        await loop.sock_sendall(client, start)
        while True:
            await loop.sock_sendall(client, again)


async def _flood(kind: str, port: int, seconds: float) -> None:
    one, clients = FLOODS[kind]

    async def client(number: int) -> None:
        await asyncio.sleep(number * min(2.0, seconds / 3) / clients)
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                await one(port)
            await asyncio.sleep(0.5)

    tasks = [asyncio.create_task(client(number)) for number in range(clients)]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def measure(bundle: Path, seconds: float) -> list[dict[str, Any]]:
    """Each flood against a server of its own, with a probe on a connection of its own each 20 ms."""
    lines = []
    for kind in FLOODS:
        with servers.ours(bundle, f"serving.max_connections={PLACES}") as server:
            answers = _http_process(server)
            for _ in range(50):
                _probe(server.port)
            before = answers.memory_info().rss / 1e6
            flood = subprocess.Popen([sys.executable, "-m", __spec__.name, kind, str(server.port), str(seconds)])
            probes, statuses = [], set()
            while flood.poll() is None:
                started = time.perf_counter()
                statuses.add(_probe(server.port))
                probes.append((time.perf_counter() - started) * 1000)
                time.sleep(0.02)
            most = _peak(answers.pid)
        median, worst, grown = statistics.median(probes), max(probes), most - before
        lines.append(
            {
                "what": kind,
                "saw": f"{grown:+.0f} MB, /health/live of others {median:.1f} ms at the median, {worst:.0f} ms at "
                f"worst, statuses {', '.join(map(str, sorted(statuses)))}",
                "met": grown <= MOST_MEGABYTES and median <= MEDIAN and worst <= WORST and statuses == {200},
                "megabytes": {"before": before, "most": most},
                "milliseconds": {"median": median, "worst": worst},
                "probes": len(probes),
            }
        )
    return lines


def _probe(port: int) -> int:
    """Status of ``/health/live``; 0 without an answer."""
    client = http.client.HTTPConnection(servers.HOST, port, timeout=10)
    try:
        client.request("GET", "/health/live")
        answer = client.getresponse()
        answer.read()
        return answer.status
    except OSError:
        return 0
    finally:
        client.close()


def _http_process(server: servers.Server) -> psutil.Process:
    """The largest of the processes that the first one has forked."""
    forked = [each for each in psutil.Process(server.process.pid).children() if "fraudlab.serving" in each.cmdline()]
    return max(forked, key=lambda process: process.memory_info().rss)


def _peak(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1000


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, _CLIENTS + 1000), hard))
    uvloop.run(_flood(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
