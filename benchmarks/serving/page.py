"""What the web page costs: its first view, and what an open one takes from the endpoint.

A browser has the view Health open for a while, which asks again and again, and what it asks is written down. The same
requests are then sent at the same moments, so that the browser's own work is left out: to an idle server, whose
processor time is read, and while clients score as fast as they can.
"""

import http.client
import shutil
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import psutil

from benchmarks.serving import servers
from benchmarks.serving.load import closed
from benchmarks.serving.material import Material

_CLIENTS = 100
_VIEWS = 5
_WHILE = 5  # turns of a page that is open: a minute, in which it asks for each thing once at least
VIEW, COST = "page, first view", "page, open"
BARS = {VIEW: "<= 150 KB over the wire, usable <= 1 s", COST: "<= 3 % of a core, >= 0.97 x the requests/s"}

Asked = list[tuple[float, str]]
"""Seconds since the page was opened, and the path."""


def measure(material: Material, seconds: float, turns: int) -> list[dict[str, Any]]:
    """Both lines of the table."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("error: no Chromium here, which opens the page: apt-get install chromium")
    with TemporaryDirectory(dir="outputs/benchmarks/serving") as folder:
        settings = [f"serving.record_to={Path(folder).absolute()}"]
        with servers.ours(material.bundle, *settings) as server:
            closed(server.address, material.requests, clients=10, seconds=seconds / 6)  # warm, and something to show
            while_open = _WHILE * seconds
            size, ready, asked = _opened(chromium, server.port, while_open)
            before = _processor_seconds(server)
            with _asking(server, asked):
                time.sleep(while_open)
            core = (_processor_seconds(server) - before) / while_open
            rates: dict[str, list[float]] = {"without": [], "with": []}
            for _ in range(turns):
                for side, loads in rates.items():
                    with _asking(server, asked if side == "with" else []):
                        loads.append(
                            closed(server.address, material.requests, clients=_CLIENTS, seconds=while_open).rate
                        )
    rate = {side: statistics.median(loads) for side, loads in rates.items()}
    ratio = statistics.median(b / a for a, b in zip(rates["without"], rates["with"], strict=True))
    return [
        {
            "what": VIEW,
            "saw": f"{size / 1000:.0f} KB, usable after {ready:.2f} s (median of {_VIEWS})",
            "met": size <= 150_000 and ready <= 1,
        },
        {
            "what": COST,
            "saw": f"{core:.1%} of a core, {ratio:.3f} x: {rate['with']:,.0f} and {rate['without']:,.0f} requests/s, "
            f"{len(asked)} requests of the page in {while_open:.0f} s",
            "met": core <= 0.03 and ratio >= 0.97,
            "core": core,
            "rates": rates,
        },
    ]


def _opened(chromium: str, port: int, seconds: float) -> tuple[int, float, Asked]:
    """Bytes of the first view, seconds until it can be used, and what the view Health asks."""
    from playwright.sync_api import sync_playwright

    address = f"http://{servers.HOST}:{port}/"
    entries = "['navigation', 'resource'].flatMap((kind) => performance.getEntriesByType(kind))"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        sizes, times = [], []
        for _ in range(_VIEWS):
            page = browser.new_context().new_page()
            page.goto(address)
            page.locator(".example").first.wait_for()
            times.append(page.evaluate("performance.now()") / 1000)
            sizes.append(page.evaluate(f"{entries}.reduce((sum, entry) => sum + entry.transferSize, 0)"))
            page.context.close()
        page = browser.new_context().new_page()
        asked: Asked = []
        page.goto(f"{address}#health")
        page.locator("#about code").wait_for()  # what an open page asks, not what opens it
        page.on("request", lambda request: asked.append((time.monotonic() - started, _path(request.url))))
        started = time.monotonic()
        page.wait_for_timeout(1000 * seconds)
        browser.close()
    return round(statistics.median(sizes)), statistics.median(times), asked


def _processor_seconds(server: servers.Server) -> float:
    """Of all its processes."""
    first = psutil.Process(server.process.pid)
    times = [process.cpu_times() for process in (first, *first.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def _path(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


@contextmanager
def _asking(server: servers.Server, asked: Asked) -> Iterator[None]:
    """Requests at their moments, by one client that keeps its connection, as a browser does."""
    ended = threading.Event()

    def ask() -> None:
        connection = http.client.HTTPConnection(servers.HOST, server.port, timeout=30)
        started = time.monotonic()
        for moment, path in asked:
            if ended.wait(max(moment - (time.monotonic() - started), 0)):
                break
            connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
            connection.getresponse().read()
        connection.close()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
