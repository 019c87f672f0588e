"""The page /docs: it opens without a key, takes everything from its own server, and its addresses are relative."""

import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.support.server import KEY, Server

# What a browser gives the page's script: enough of it to see which addresses it asks for, and with which headers.
BROWSER = """
const elements = {};
const made = () => ({ hidden: true, value: "", textContent: "", addEventListener(name, f) { this[name] = f; } });
global.document = { getElementById: (id) => (elements[id] ||= made()), title: "" };
global.SwaggerUIBundle = (options) => { global.shown = options; };
const page = process.argv[2];
const fetched = global.fetch;
global.fetch = (address, options) => fetched(new URL(address, page), options);
require("vm").runInThisContext(require("fs").readFileSync(process.argv[3], "utf8"));
(async () => {
  while (elements.enter.hidden) await new Promise((go) => setTimeout(go, 5));
  document.getElementById("key").value = process.argv[4] + " ";
  elements.enter.submit({ preventDefault() {} });
  while (!global.shown) await new Promise((go) => setTimeout(go, 5));
  const request = shown.requestInterceptor({ headers: {} });
  console.log(JSON.stringify([document.title, shown.spec.servers, request.headers, elements.enter.hidden]));
})();
"""


def test_the_page_needs_no_key_and_no_other_host(exported: tuple[Path, Path], tmp_path: Path) -> None:
    with Server(exported[1], tmp_path) as server:
        page = server.ask("/docs", key=None)
        assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert "default-src 'self'" in page.headers["Content-Security-Policy"]
        addresses = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert len(addresses) >= 3
        for address in (each for each in addresses if not each.startswith("data:")):
            assert not address.startswith(("/", "http"))  # relative, so that a proxy may put a prefix before it
            assert server.ask(urljoin("/docs", address), key=None).status == 200
        script = server.ask("/docs/docs.js", key=None).text
        assert "SwaggerUIBundle" in server.ask("/docs/swagger-ui-bundle.js", key=None).text[:2000]
        assert server.ask("/openapi.json", key=None).status == 401
        described = server.ask("/openapi.json").said
        assert urljoin("http://host/prefix/openapi.json", described["servers"][0]["url"]) == "http://host/prefix/"

        node = shutil.which("node")
        if node is None:
            pytest.skip("no Node here, which would run the page's script")
        (tmp_path / "browser.js").write_text(BROWSER)
        (tmp_path / "docs.js").write_text(script)
        address = f"http://127.0.0.1:{server.port}/docs"
        command = [node, str(tmp_path / "browser.js"), address, str(tmp_path / "docs.js"), KEY]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        title = described["info"]["title"]
        assert done.stdout.strip() == f'["{title}",[{{"url":"./"}}],{{"X-API-Key":"{KEY}"}},true]'
