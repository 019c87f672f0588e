"""Names and values of a table that hold markup, quotes, emoji, right-to-left text: shown, never run; and 64-bit ids."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.conftest import Command
from tests.page.conftest import Open, faults, recording
from tests.support.server import KEY, Server

ID = "<b>id</b>"
IMAGE = "<img src=x onerror=alert(1)>"
QUOTED = """it's "quoted" & 'so'"""
ARABIC = "مبلغ"
SHELL = "🙂 $(touch ran) `touch ran`"
PROTO = "__proto__"
FIRST_ID = 2**53 + 1
VALUES = ["<script>alert(2)</script>", "'; touch ran; '", '"quoted" \\', "بنك 🙂"]


@pytest.fixture(scope="module")
def strange(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a table with such names."""
    folder = tmp_path_factory.mktemp("strange")
    draw = np.random.default_rng(0)
    rows = 1200
    number = draw.normal(size=rows)
    kind = draw.integers(0, len(VALUES), rows)
    fraud = (number + (kind == 0) + draw.normal(size=rows) * 0.3 > 1.3).astype(int)
    table = {
        ID: np.arange(rows) * 2 + FIRST_ID,
        IMAGE: [VALUES[i] for i in kind],
        QUOTED: number,
        ARABIC: draw.normal(size=rows),
        SHELL: [VALUES[-1 - i] for i in kind],
        PROTO: draw.normal(size=rows),
        "fraud": fraud,
    }
    pl.DataFrame(table).write_parquet(folder / "table.parquet")
    own = ("data=table", f"data.path={folder}/table.parquet", "data.label=fraud", f"data.id='{ID}'", "features=columns")
    quick = ("experiment=none", "split=random", "model=logistic_regression", "report=false", "logger=none")
    done = command("train", *own, *quick, f"hydra.run.dir={folder}/run")
    assert done.returncode == 0, done.stderr
    done = command("export", f"run={folder}/run", f"out={folder}/bundle")
    assert done.returncode == 0, done.stderr
    return folder / "bundle"


@pytest.fixture(scope="module")
def server(strange: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("strange_server")
    with Server(strange, folder, *recording(folder)) as started:
        yield started


def test_they_are_shown_as_they_are_and_never_run(server: Server, open_page: Open, tmp_path: Path) -> None:
    page = open_page(server)
    dialogs: list[Any] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.locator(".example").first.click()
    page.locator(".result .big").wait_for()
    for name in (IMAGE, QUOTED, ARABIC, SHELL, PROTO):
        assert page.locator(".fields label", has_text=name).count() == 1
    page.get_by_label(ID, exact=True).fill(str(FIRST_ID))
    page.get_by_label(re.compile("^" + re.escape(IMAGE))).fill(VALUES[0])
    page.get_by_label(re.compile("^" + re.escape(SHELL))).fill("never seen <i>")
    page.get_by_label(re.compile("^" + re.escape(PROTO))).fill("0.25")
    page.get_by_text("not seen in the training rows").first.wait_for()
    with page.expect_request(lambda request: "dry_run=true&explain" in request.url) as asked:
        page.get_by_role("button", name="Score", exact=True).click()
    assert f'"{ID}":{FIRST_ID}' in asked.value.post_data
    assert f'"{PROTO}":0.25' in asked.value.post_data
    page.get_by_text("Ask the same from elsewhere").click()
    page.locator(".what-if select").select_option(IMAGE)
    page.get_by_text(f"Score by {IMAGE}").first.wait_for()
    assert page.locator(".what-if .bars th", has_text=VALUES[0]).count() == 1
    assert page.locator(".bars th", has_text=IMAGE).first.inner_text().startswith(IMAGE)
    assert page.locator("main img, main script, main b, main i").count() == 0
    assert faults(page) == []
    score = page.locator(".result .big").inner_text()

    curl, python = (page.locator(".snippet pre").nth(i).text_content() for i in (0, 1))
    page.goto(f"http://127.0.0.1:{server.port}/#model")
    page.get_by_text("What scores rest on").wait_for()
    assert page.locator("#view-model .bars th", has_text=IMAGE).count() == 1
    assert page.locator("main img, main script").count() == 0
    assert dialogs == []

    environment = {**os.environ, "FRAUDLAB_API_KEY": KEY}
    said = [run_in(tmp_path, [sys.executable, "-c", python], environment)]
    if shutil.which("curl"):
        said.append(run_in(tmp_path, ["bash", "-c", f"{curl} --silent"], environment))
    for answer in said:
        found = float(re.search(r"score['\"]: ?([\d.e-]+)", answer)[1])  # type: ignore[index]
        assert float(score.removesuffix(" %")) == pytest.approx(100 * found, rel=0.1)
    assert list(tmp_path.iterdir()) == []  # nothing of the names was run


def run_in(folder: Path, words: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_card_as_markdown_holds_no_markup(strange: Path) -> None:
    text = (strange / "model_card.md").read_text()
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "<" not in text.replace("&lt;", "")
