"""The documents' site in a browser: each page opens without an error and asks no other host; the search finds."""

import functools
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.conftest import REPOSITORY
from tests.support.docs import generate

ZENSICAL = str(Path(sys.executable).with_name("zensical"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as ``make docs`` makes it, strictly."""
    if not Path(ZENSICAL).exists():
        pytest.skip("no Zensical here: it needs Python 3.11.5 or newer")
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(REPOSITORY / "docs", folder / "docs")
    (folder / "docs" / "changelog.md").write_text(generate.changelog())
    shutil.copy(REPOSITORY / "mkdocs.yml", folder)
    done = subprocess.run([ZENSICAL, "build", "--strict"], cwd=folder, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address(built: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(built)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def test_every_page_is_in_the_navigation(built: Path) -> None:
    in_nav = set(re.findall(r"(\S+\.md)$", (REPOSITORY / "mkdocs.yml").read_text(), re.MULTILINE))
    docs = built.parent / "docs"
    assert in_nav == {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")}


def test_each_page_opens_without_an_error_and_asks_no_other_host(browser: Any, built: Path, address: str) -> None:
    page = browser.new_page()
    said: list[str] = []
    asked: set[str] = set()
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
    page.on("response", lambda answer: said.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None)
    for path in sorted(built.rglob("index.html")):
        page.goto(f"{address}/{path.relative_to(built).parent.as_posix()}/")
        assert page.locator("h1").first.inner_text()
        broken = "[...document.images].filter((image) => !image.naturalWidth).map((image) => image.src)"
        assert page.evaluate(broken) == [], path
        assert said == [], path
    assert asked - {""} == {urlsplit(address).netloc}
    page.close()


def test_the_search_finds_a_concept(browser: Any, address: str) -> None:
    page = browser.new_page()
    page.goto(f"{address}/")
    page.locator(".md-search__button").click()
    page.locator("dialog input").first.fill("label delay")
    found = page.get_by_role("option").filter(has_text=re.compile("label delay", re.IGNORECASE))
    found.first.click()
    page.wait_for_url(lambda url: urlsplit(url).path != "/")
    assert "label delay" in page.locator("article").inner_text().lower()
    page.close()
