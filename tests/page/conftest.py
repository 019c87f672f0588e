"""A browser, and a server whose page it opens. Each page is watched: it asks no other host and breaks no policy."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from fraudlab import bundle as bundles
from tests.support.bundles import with_reachable_thresholds
from tests.support.server import KEY, Server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
KEYS = {"all": KEY, "score": "s" * 32, "label": "l" * 32, "read": "r" * 32, "metrics": "m" * 32}
"""A key by its scope; ``all`` is of one with every scope."""

_CHROMIUM_ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
_VIOLATIONS = """addEventListener("securitypolicyviolation",
    (event) => console.error(`policy violated: ${event.violatedDirective} ${event.blockedURI}`));"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium; tests skip without it. Of one module: its event loop would stop asyncio.run() later."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_CHROMIUM_ARGS))
        yield started
        started.close()


@pytest.fixture(scope="session")
def page_bundle(exported: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> bundles.Bundle:
    """The simulated IEEE-CIS bundle, with thresholds that its golden records reach."""
    return with_reachable_thresholds(exported[1], tmp_path_factory.mktemp("page") / "bundle")


@pytest.fixture(scope="session")
def served(page_bundle: bundles.Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of it with a record and a key for each scope, for all tests; to stop or change one, start it."""
    folder = tmp_path_factory.mktemp("served")
    with Server(Path(page_bundle.path), folder, *recording(folder)) as server:
        yield server


def recording(folder: Path) -> list[str]:
    """Settings of a server with a record and with :data:`KEYS`."""
    keys = folder / "keys"
    scopes = {"all": "score,label,read,metrics"}
    keys.write_text("".join(f"{name}:{scopes.get(name, name)}:{key}\n" for name, key in KEYS.items()))
    keys.chmod(0o600)
    return ["serving.record_to=record", "serving.record_reasons=5", f"serving.api_key_file={keys}"]


Open = Callable[..., Any]


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Opens a server's page: ``open_page(server, "batch", key=KEYS["score"], width=360, dark=True)``.

    When the test ends, the page has logged no error but those whose text ``errors`` names, has violated no policy and
    has asked no other host.
    """
    contexts = []

    def opened(
        server: Server,
        view: str = "score",
        *,
        key: str | None = KEY,
        width: int = 1200,
        height: int = 900,
        dark: bool = False,
        errors: tuple[str, ...] = (),
        prefix: str = "",
    ) -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            locale="en-GB",
            timezone_id="UTC",
            accept_downloads=True,
        )
        context.set_default_timeout(30_000)
        context.add_init_script(_VIOLATIONS)
        said: list[str] = []
        hosts: set[str] = set()
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
        contexts.append((context, said, hosts, server, errors))
        if key:
            context.add_init_script(f"sessionStorage.setItem('fraudlab key', {json.dumps(key)})")
        page.goto(f"http://127.0.0.1:{server.port}{prefix}/#{view}")
        return page

    yield opened
    for context, said, hosts, server, errors in contexts:
        context.close()
        unexpected = [text for text in said if not any(each in text for each in errors)]
        assert unexpected == []
        assert hosts <= {f"127.0.0.1:{server.port}", ""}


def faults(page: Any) -> list[str]:
    """What axe-core finds that is serious or worse, in the page as it is now."""
    if not AXE.is_file():
        pytest.skip("no axe-core here: make lint-page installs it (it needs npm)")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("async () => (await axe.run(document, {resultTypes: ['violations']})).violations")
    return [
        f"{each['id']}: {node['html'][:200]} {node['failureSummary']}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]
