"""A bundle of another schema after a swap, and a server that stops: said in words, and what was typed stays."""

import json
import re
import shutil
import signal
from pathlib import Path

from fraudlab import bundle as bundles
from tests.page.conftest import KEYS, Open, recording
from tests.support.bundles import signed
from tests.support.server import Server, until


def test_a_swap_and_an_end_lose_nothing(page_bundle: bundles.Bundle, open_page: Open, tmp_path: Path) -> None:
    folder = shutil.copytree(page_bundle.path, tmp_path / "bundle")
    with Server(folder, tmp_path, *recording(tmp_path)) as server:
        page = open_page(server, errors=("422", "ERR_", "Failed to load"))
        page.locator(".example").first.click()
        page.locator(".result .big").wait_for()
        page.get_by_label(re.compile("^TransactionAmt")).fill("77.5")
        page.get_by_label("DeviceInfo").fill("my own device")

        schema = json.loads((folder / "schema.json").read_text())
        for field in schema["fields"]:
            if field["name"] == "dist1":  # which the other bundle needs, and this page leaves empty
                field |= {"required": True, "nullable": False}
        (folder / "schema.json").write_text(
            json.dumps({**schema, "fields": [each for each in schema["fields"] if each["name"] != "DeviceInfo"]})
        )
        signed(folder)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: "is in service in place of" in server.log.read_text())
        page.get_by_label("dist1").fill("")
        page.get_by_role("button", name="Score", exact=True).click()
        page.get_by_text("The server has another bundle now.").first.wait_for()
        page.get_by_text("Left aside, since the bundle has no such field: DeviceInfo").wait_for()
        assert page.get_by_label(re.compile("^TransactionAmt")).input_value() == "77.5"

        server.end()
        page.get_by_role("button", name="Score", exact=True).click()
        page.get_by_text("The server does not answer. What you typed is still here").first.wait_for()
        assert page.get_by_label(re.compile("^TransactionAmt")).input_value() == "77.5"


def test_a_wrong_key_or_too_little_scope_is_said(served: Server, open_page: Open) -> None:
    page = open_page(served, key=KEYS["label"], errors=("401", "403"))
    page.get_by_text("This key may not do that: the key label does not have the scope score or read").first.wait_for()
    page.get_by_role("button", name="API key").click()
    page.get_by_label("Key", exact=True).fill(KEYS["all"])
    page.keyboard.press("Enter")
    page.locator(".example").first.wait_for()  # the view opens by itself
    assert page.locator("#notice").is_hidden()
    page.evaluate("sessionStorage.setItem('fraudlab key', 'taken back')")
    page.locator(".example").first.click()
    page.get_by_text("The server does not know this key.").wait_for()
    page.get_by_label("Key", exact=True).fill(KEYS["all"])
    page.keyboard.press("Enter")
    page.locator(".result .big").wait_for()  # what was asked is answered, and not asked again by hand
