"""One function a line, or a few, of the table: each starts what it measures and says what it saw."""

import math
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from benchmarks.serving import floods, install, malformed, model, page, recording, servers, shadow
from benchmarks.serving.load import Load, closed, opened
from benchmarks.serving.material import Material
from fraudlab.config.overrides import literal

Line = dict[str, Any]

MANY = 100  # concurrent clients
_TIMES = 10  # the usual load
BARS = {
    "model alone, one row": "<= 0.2 ms and >= 20 x TabNetClassifier.predict_proba",
    "encode and model, one record": "<= 1 ms",
    "endpoint, 1 client": "p50 <= 4 ms",
    f"endpoint, {MANY} clients": "p99 <= 150 ms, >= 800 requests/s, 0 errors",
    "against plain FastAPI": ">= 5 x its requests/s",
    "overload": "200, 429 and 503 alone, memory flat, p99 of 200 <= 500 ms, normal within 5 s",
    "start to ready": "<= 3 s",
    "memory of a process": "<= 400 MB",
    "install": "<= 600 MB, no torch",
    "bulk predict": ">= 30,000 rows/s",
    "malformed requests": "no 5xx, no crash",
    "schemathesis": "no 5xx, no answer that the OpenAPI page does not describe",
    **recording.BARS,
    **shadow.BARS,
    **page.BARS,
    "SIGTERM under load": "no accepted request lost, exit status 0",
    **dict.fromkeys(
        floods.FLOODS,
        f"HTTP process <= +{floods.MOST_MEGABYTES} MB, /health/live of others <= {floods.MEDIAN} ms at the median, "
        f"<= {floods.WORST} ms at worst",
    ),
}


@dataclass(frozen=True)
class Effort:
    """How long each case runs."""

    calls: int = 500
    seconds: float = 12.0
    overload_seconds: float = 60.0
    requests: int = 10_000
    examples: int = 200
    shutdowns: int = 20
    starts: int = 3
    bulk_rows: int = 590_540  # as many as IEEE-CIS has
    flood_seconds: float = 10.0
    turns: int = 3
    swaps: int = 100


QUICK = Effort(20, 1.0, 3.0, 300, 10, 2, 1, 2_000, 1.0, 1, 3)


def endpoint(material: Material, effort: Effort) -> list[Line]:
    """Our server and then the plain one, alone on the machine each, with the same requests."""
    requests = material.requests
    with servers.ours(material.bundle) as server:
        closed(server.address, requests, clients=10, seconds=effort.seconds / 6)  # warm
        one = closed(server.address, requests, clients=1, seconds=effort.seconds / 2)
        many = closed(server.address, requests, clients=MANY, seconds=effort.seconds)
        memory = server.memory()
    with servers.plain(material.plain) as rival:
        closed(rival.address, requests, clients=10, seconds=effort.seconds / 6)
        plain = closed(rival.address, requests, clients=MANY, seconds=effort.seconds)
    p50, p99 = one.milliseconds(50), many.milliseconds(99)
    return [
        {
            "what": "endpoint, 1 client",
            "saw": f"p50 {p50:.2f} ms, p99 {one.milliseconds(99):.2f} ms",
            "met": p50 <= 4 and not one.errors,
            **_seen(one),
        },
        {
            "what": f"endpoint, {MANY} clients",
            "saw": f"p99 {p99:.0f} ms, {many.rate:,.0f} requests/s, {many.errors} errors",
            "met": p99 <= 150 and many.rate >= 800 and not many.errors,
            **_seen(many),
        },
        {
            "what": "against plain FastAPI",
            "saw": f"{many.rate / plain.rate:.1f} x its {plain.rate:,.0f} requests/s, "
            f"p99 {plain.milliseconds(99):,.0f} ms, {plain.errors} errors",
            "met": many.rate / plain.rate >= 5,
            "ratio": many.rate / plain.rate,
            **_seen(plain),
        },
        {
            "what": "memory of a process",
            "saw": f"at most {max(memory.values()):.0f} MB, {len(memory)} processes, {sum(memory.values()):.0f} MB",
            "met": max(memory.values()) <= 400,
            "megabytes": sorted(memory.values(), reverse=True),
        },
    ]


def overload(material: Material, effort: Effort) -> list[Line]:
    """Ten times the requests a second that the server answers for 100 clients, by the clock, whatever it answers.

    The load generator needs about as much of the processors for this as the server, and shares them with it: on two
    cores it may offer less than it should. The line says what was offered, and how many times the usual rate that is.
    """
    requests = material.requests
    memory: list[tuple[float, float]] = []
    with servers.ours(material.bundle) as server:
        closed(server.address, requests, clients=10, seconds=effort.seconds / 6)  # warm
        usual = closed(server.address, requests, clients=MANY, seconds=effort.seconds / 2)
        load = opened(
            server.address,
            requests,
            rate=_TIMES * usual.rate,
            connections=_TIMES * MANY,
            seconds=effort.overload_seconds,
            meanwhile=lambda now: memory.append((now, sum(server.memory().values()))),
        )
        back = _back_to_normal(server, requests)
    statuses = load.statuses
    p99 = load.milliseconds(99)
    # The first tenth fills buffers and allocator pools; a leak shows in what comes later.
    settled = [megabytes for _, megabytes in memory[max(1, len(memory) // 10) :]]
    growth = settled[-1] / settled[0] - 1
    allowed = set(statuses) <= {"200", "429", "503"} and not load.refused
    return [
        {
            "what": "overload",
            "saw": f"{load.offered:,.0f} requests/s offered ({load.offered / usual.rate:.1f} x the usual "
            f"{usual.rate:,.0f}), {statuses}, p99 of 200 {p99:.0f} ms, memory {growth:+.1%} "
            f"from {settled[0]:.0f} MB, " + ("not normal after 10 s" if back is None else f"normal after {back:.1f} s"),
            "met": allowed and p99 <= 500 and growth <= 0.05 and back is not None and back <= 5,
            "usual_rate": usual.rate,
            "offered_rate": load.offered,
            "memory": memory,
            "memory_growth": growth,
            "seconds_to_normal": back,
            **_seen(load),
        }
    ]


def start(material: Material, effort: Effort) -> list[Line]:
    seconds = []
    for _ in range(effort.starts):
        with servers.ours(material.bundle) as server:
            seconds.append(server.seconds_to_ready)
    median = statistics.median(seconds)
    return [{"what": "start to ready", "saw": f"{median:.2f} s", "met": median <= 3, "seconds": seconds}]


def size(material: Material, effort: Effort) -> list[Line]:
    sizes = install.megabytes(install.closure("serve"))
    total = sum(sizes.values())
    largest = ", ".join(f"{name} {sizes[name]:.0f}" for name in list(sizes)[:3])
    return [
        {
            "what": "install",
            "saw": f"{total:.0f} MB in {len(sizes)} packages ({largest}), {'with' if 'torch' in sizes else 'no'} torch",
            "met": total <= 600 and "torch" not in sizes,
            "megabytes": sizes,
        }
    ]


def bulk(material: Material, effort: Effort) -> list[Line]:
    """``python -m fraudlab.predict`` on a Parquet file, from its start to its end."""
    with TemporaryDirectory() as folder:
        given, scores = Path(folder) / "rows.parquet", Path(folder) / "scores.parquet"
        times = math.ceil(effort.bulk_rows / len(material.frame))
        pl.concat([material.frame] * times)[: effort.bulk_rows].write_parquet(given)
        paths = {"bundle": material.bundle, "input": given, "output": scores}
        command = ["fraudlab.predict", *(literal(key, path) for key, path in paths.items())]
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True)
        seconds = time.perf_counter() - started
        if done.returncode or pl.scan_parquet(scores).select(pl.len()).collect().item() != effort.bulk_rows:
            sys.exit(f"error: {' '.join(command)}\n{done.stdout}{done.stderr}")
    rate = effort.bulk_rows / seconds
    saw = f"{rate:,.0f} rows/s: {effort.bulk_rows:,} rows of {len(material.frame.columns)} fields, start included"
    return [{"what": "bulk predict", "saw": saw, "met": rate >= 30_000, "rows": effort.bulk_rows, "seconds": seconds}]


def broken(material: Material, effort: Effort) -> list[Line]:
    """Malformed requests, sound ones before and after, and the same processes all along; then schemathesis's."""
    requests = malformed.requests(material.records[:50], effort.requests, seed=0)
    sound = material.requests[:50]
    with servers.ours(material.bundle) as server:
        before = closed(server.address, sound, clients=1, number=len(sound))
        processes = set(server.memory())
        load = closed(server.address, requests, clients=16, number=len(requests))
        after = closed(server.address, sound, clients=1, number=len(sound))
        drawn = malformed.schemathesis(server.address, effort.examples)
        same = set(server.memory()) == processes
    statuses = load.statuses
    failed = sum(status >= 500 for status, _, _ in load.answers)
    crashed = not same or before.errors or after.errors or load.refused
    return [
        {
            "what": "malformed requests",
            "saw": f"{effort.requests:,}: {statuses}, {'a process died' if crashed else 'no process died'}",
            "met": not failed and not crashed and not load.lost,
            **_seen(load),
        },
        {
            "what": "schemathesis",
            "saw": f"{drawn.cases:,} cases, {'a process died' if crashed else 'no process died'}, {drawn.says}",
            "met": drawn.passed and not crashed,
            "cases": drawn.cases,
        },
    ]


def shutdown(material: Material, effort: Effort) -> list[Line]:
    """Stop the server in the midst of load, again and again.

    A request counts as accepted when it was sent before the signal: the server took all it was sent until then. Later
    ones may find a closed command, but an answer once begun must come whole, which the client would count as lost.
    """
    lost = served = 0
    seconds, statuses = [], []
    for number in range(effort.shutdowns):
        with servers.ours(material.bundle) as server:
            stopped = [math.inf]

            def stop(server: servers.Server = server, stopped: list[float] = stopped) -> None:
                stopped[0] = time.perf_counter()
                server.process.send_signal(signal.SIGTERM)

            timer = threading.Timer(0.5 + 0.05 * number, stop)
            timer.start()
            load = closed(server.address, material.requests, clients=50, seconds=0.5 + 0.05 * number + 3)
            timer.join()
            statuses.append(server.process.wait(30))
            seconds.append(time.perf_counter() - stopped[0])
        lost += sum(sent < stopped[0] for sent in load.lost)
        served += sum(status == 200 for status, _, _ in load.answers)
    return [
        {
            "what": "SIGTERM under load",
            "saw": f"{effort.shutdowns} times, {served:,} answers, {lost} lost, at most {max(seconds):.1f} s, "
            f"exit status {', '.join(map(str, sorted(set(statuses))))}",
            "met": not lost and set(statuses) == {0},
            "lost": lost,
            "seconds": seconds,
        }
    ]


def flood(material: Material, effort: Effort) -> list[Line]:
    """Clients that misbehave, and what the others see of it."""
    return floods.measure(material.bundle, effort.flood_seconds)


CASES: dict[str, Callable[[Material, Effort], list[Line]]] = {
    "model": lambda material, effort: model.measure(material, effort.calls),
    "endpoint": endpoint,
    "overload": overload,
    "start": start,
    "install": size,
    "bulk": bulk,
    "record": lambda material, effort: recording.measure(material, effort.seconds / 3, 3 * effort.turns),
    "challenger": lambda material, effort: shadow.measure(material, effort.seconds, effort.turns),
    "swaps": lambda material, effort: shadow.swap(material, effort.swaps),
    "page": lambda material, effort: page.measure(material, effort.seconds, effort.turns),
    "malformed": broken,
    "shutdown": shutdown,
    "floods": flood,
}


def _back_to_normal(server: servers.Server, requests: list[bytes]) -> float | None:
    """Seconds until a slice of the usual load is answered as usual; None where 10 s do not do."""
    started = time.perf_counter()
    while (begun := time.perf_counter() - started) < 10:
        load = closed(server.address, requests, clients=MANY, seconds=0.5)
        if not load.errors and load.milliseconds(99) <= 150:
            return begun
    return None


def _seen(load: Load) -> dict[str, Any]:
    """A load's figures for the record; no percentile where nothing was answered with 200."""
    percentiles = {f"p{p:g}": load.milliseconds(p) for p in (50, 90, 99, 99.9)}
    known = {name: value for name, value in percentiles.items() if not math.isnan(value)}
    return {
        "load": {
            "seconds": load.seconds,
            "statuses": load.statuses,
            "refused": load.refused,
            "rate": load.rate,
            **known,
        }
    }
