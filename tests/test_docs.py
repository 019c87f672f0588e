"""What the documents say of the package is so."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.support.server import Server

ZENSICAL = str(Path(sys.executable).with_name("zensical"))
_spec = importlib.util.spec_from_file_location("generate", REPOSITORY / "docs" / "generate.py")
assert _spec is not None
assert _spec.loader is not None
generate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(generate)


def test_the_architecture_names_every_package_and_module_at_the_top() -> None:
    package = REPOSITORY / "fraudlab"
    there = {path.stem for path in package.glob("*.py")} | {path.parent.name for path in package.glob("*/__init__.py")}
    table = re.findall(r"^\| `([^|]+)` \|", (REPOSITORY / "docs" / "architecture.md").read_text(), re.MULTILINE)
    assert {name for names in table for name in names.split()} == there - {"__init__"}


def test_the_reference_says_what_code_and_settings_say() -> None:
    for name, made in generate.PAGES.items():
        page = REPOSITORY / "docs" / "reference" / f"{name}.md"
        assert page.read_text().rstrip() == made().rstrip(), "run: make docs"
        assert "|  |\n" not in page.read_text()  # a setting of which nothing is said


def test_the_reference_has_the_metrics_of_a_server(exported: tuple[Path, Path], tmp_path: Path) -> None:
    record = (f"serving.record_to={tmp_path}/record",)
    with Server(exported[1], tmp_path, *record) as server:
        assert (
            server.predict(json.loads((exported[1] / "golden.jsonl").read_text().splitlines()[0])["record"]).status
            == 200
        )
        scrape = server.ask("/metrics").text
    page = (REPOSITORY / "docs" / "reference" / "metrics.md").read_text()
    assert generate.metrics(scrape).rstrip() == page.rstrip(), "make docs/reference/metrics.md from such a server"


def test_the_site_builds_without_a_broken_link(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "docs", tmp_path / "docs")
    shutil.copy(REPOSITORY / "mkdocs.yml", tmp_path)
    done = subprocess.run([ZENSICAL, "build", "--strict"], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    in_nav = set(re.findall(r"(\S+\.md)$", (REPOSITORY / "mkdocs.yml").read_text(), re.MULTILINE))
    there = {path.relative_to(REPOSITORY / "docs").as_posix() for path in (REPOSITORY / "docs").rglob("*.md")}
    assert in_nav == there
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(there)
    for page in pages:
        sources = re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"?([^\" >]+)", page.read_text())
        assert not [source for source in sources if source.startswith(("http", "//")) and "canonical" not in source]
