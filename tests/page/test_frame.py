"""The page's frame: files, policy, views by the keyboard, the key."""

import gzip
import re
from typing import Any
from urllib.parse import urljoin

import pytest

from tests.page.conftest import KEYS, Open, faults
from tests.support.server import Server

VIEWS = ("Score", "Batch", "Cases", "Health", "Model")


def test_files_are_compressed_kept_and_of_a_strict_policy(served: Server) -> None:
    page = served.ask("/", key=None)
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    policy = page.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    for address in re.findall(r'(?:src|href)="([^"#]+)"', page.text):
        assert not address.startswith(("/", "http"))  # relative, so that a proxy may put a prefix before it
        found = served.ask(urljoin("/", address), key=None)
        assert (found.status, found.headers["X-Content-Type-Options"]) == (200, "nosniff")
    script = served.ask("/page/app.js", key=None)
    tag = script.headers["ETag"]
    kept = served.ask("/page/app.js", key=None, headers={"If-None-Match": tag})
    assert (kept.status, kept.text, kept.headers["ETag"]) == (304, "", tag)
    assert served.ask("/page/app.js", key=None, headers={"Accept-Encoding": "gzip;q=0, br"}).text == script.text


def test_compressed_files_are_the_same(served: Server) -> None:
    import urllib.request

    address = f"http://127.0.0.1:{served.port}/page/app.js"
    request = urllib.request.Request(address, headers={"Accept-Encoding": "br;q=1.0, gzip;q=0.8"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(answer.read()).decode() == served.ask("/page/app.js", key=None).text


def test_views_are_reached_by_keyboard(served: Server, open_page: Open) -> None:
    page = open_page(served)
    page.get_by_role("heading", name="Score", exact=True).wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    for name in VIEWS:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == name
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Model", level=2).first.wait_for()
    assert page.get_by_role("link", name="Model").get_attribute("aria-current") == "page"
    page.go_back()
    page.get_by_role("heading", name="Score", exact=True).wait_for()
    page.get_by_role("link", name="Skip to the content").press("Enter")
    page.reload()
    page.get_by_role("heading", name="Score", exact=True).wait_for()


def test_the_key_is_asked_for_and_kept_for_the_tab(served: Server, open_page: Open) -> None:
    page = open_page(served, key=None, errors=("401",))
    dialog = page.get_by_role("dialog", name="API key")
    dialog.wait_for()
    assert faults(page) == []
    page.get_by_label("Key", exact=True).fill("ключ")
    page.keyboard.press("Enter")
    assert dialog.is_visible()  # no header can hold it
    assert not page.evaluate("document.getElementById('key-value').validity.valid")
    page.get_by_label("Key", exact=True).fill("x" * 32)
    page.keyboard.press("Enter")
    page.get_by_text("The server does not know this key.").wait_for()
    page.get_by_label("Key", exact=True).fill(KEYS["all"])
    page.keyboard.press("Enter")
    dialog.wait_for(state="hidden")
    page.locator("#about code").wait_for()
    kept: Any = page.evaluate("[Object.values(sessionStorage), localStorage.length, document.cookie, location.href]")
    assert kept == [[KEYS["all"]], 0, "", f"http://127.0.0.1:{served.port}/#score"]
    page.reload()
    page.locator("#about code").wait_for()
    assert not dialog.is_visible()


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_serious_is_wrong_with_the_frame(served: Server, open_page: Open, dark: bool) -> None:
    page = open_page(served, "health", dark=dark, width=360, errors=("404",))  # no report is kept
    page.locator("#about code").wait_for()
    assert faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
