"""What the documents say of the package is so."""

import json
import re
from pathlib import Path

import polars as pl

from fraudlab.bundle import formats
from fraudlab.monitoring.records import COLUMNS
from fraudlab.runs import formats as run_formats
from tests.conftest import REPOSITORY
from tests.support.docs import generate
from tests.support.server import Server

FILES = (REPOSITORY / "docs" / "reference" / "files.md").read_text(encoding="utf-8")


def test_the_architecture_names_every_package_and_module_at_the_top() -> None:
    package = REPOSITORY / "fraudlab"
    there = {path.stem for path in package.glob("*.py")} | {path.parent.name for path in package.glob("*/__init__.py")}
    table = re.findall(r"^\| `([^|]+)` \|", (REPOSITORY / "docs" / "architecture.md").read_text(), re.MULTILINE)
    assert {name for names in table for name in names.split()} == there - {"__init__"}


def test_the_reference_says_what_code_and_settings_say() -> None:
    for name, made in generate.PAGES.items():
        page = REPOSITORY / "docs" / f"{name}.md"
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


def rows(title: str) -> dict[str, list[str]]:
    """The first table of a section of the page of file formats: the other cells by the first one's code."""
    section = FILES.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return {
        name: cells[1:]
        for cells in (line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `"))
        for name in re.findall(r"`([^`]+)`", cells[0])
    }


def test_the_formats_of_a_run_folder(exported: tuple[Path, Path]) -> None:
    run = exported[0]
    told = rows("Run folder")
    there = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    written = {name for name in there if not name.startswith(("selection/", "slices/", ".hydra/"))}
    assert written <= told.keys()
    assert f"formats 1 to {run_formats.FORMAT} are read; {run_formats.FORMAT} is written" in FILES
    predictions = pl.read_parquet(run / "predictions" / "test.parquet")
    assert predictions.columns == list(rows("Predictions"))
    assert predictions.schema["score"] == pl.Float32


def test_the_formats_of_a_bundle(exported: tuple[Path, Path]) -> None:
    bundle = exported[1]
    told = rows("Bundle")
    there = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert {re.sub(r"look_ups/[\w.]+\.npy", "look_ups/<name>.npy", name) for name in there} <= told.keys()
    assert json.loads((bundle / "manifest.json").read_text())["format"] == formats.FORMAT - 1  # no levels by money
    assert f"All of them are read; {formats.FORMAT} is written" in FILES
    assert re.findall(r"^\| (\d+) \| ", FILES.split("## Bundle")[1].split("## Record")[0], re.MULTILINE) == [
        str(number + 1) for number in range(formats.FORMAT)
    ]


def test_the_formats_of_a_record() -> None:
    told = rows("Record")
    assert [name for name in told if "/" not in name and "." not in name] == [*COLUMNS, "input"]
