"""The page's reading of CSV, against Python's csv module and against the reading of tables in training."""

import csv
import io
import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import fraudlab.serving
from fraudlab.features.values import RawColumns
from fraudlab.schema import Column

PAGE = Path(fraudlab.serving.__file__).parent / "page"
READ = """
import { readFileSync } from "node:fs";
const [page, given] = process.argv.slice(2);
const { layoutOf, rowsOf, lineOf } = await import(page + "/csv.js");
const { jsonOf } = await import(page + "/records.js");
const { files, cells, decimal } = JSON.parse(readFileSync(given, "utf8"));
const found = { files: [], cells: [] };
for (const text of files) {
  const file = new Blob([text]);
  const layout = await layoutOf(file);
  const rows = [];
  for await (const row of rowsOf(file, layout)) {
    const alone = [];
    for await (const again of rowsOf(file, layout, row)) alone.push(again.cells);
    const same = JSON.stringify(alone) === JSON.stringify([row.cells]);
    rows.push({ cells: row.cells, alone: same, written: lineOf(row.cells, ",") });
  }
  found.files.push({ separator: layout.separator, names: layout.names, rows });
}
for (const { type, text } of cells) {
  try {
    found.cells.push(jsonOf({ name: "x", type, missing_values: ["-999"] }, text, decimal));
  } catch (error) {
    found.cells.push({ refused: error.message });
  }
}
console.log(JSON.stringify(found));
"""


def read(folder: Path, **given: Any) -> Any:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node here, which would run the page's script")
    for name in ("csv.js", "records.js", "numbers.js"):
        shutil.copy(PAGE / name, folder)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "read.mjs").write_text(READ)
    (folder / "given.json").write_text(json.dumps(given))
    command = [node, str(folder / "read.mjs"), str(folder), str(folder / "given.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_rows_are_those_of_pythons_csv_module(tmp_path: Path) -> None:
    chance = random.Random(7)
    pieces = ["", "a", '"', ",", ";", "\n", "\r\n", "é😀", "שלום", "1.5", "=x", "|", "\t", "3 in", "'"]
    files, tables = [], []
    for _ in range(150):
        separator = chance.choice(",;\t|")
        table = [[f"v{''.join(chance.choices(pieces, k=chance.randrange(5)))}" for _ in range(3)] for _ in range(12)]
        text = io.StringIO(newline="")
        end, quoting = chance.choice(["\n", "\r\n", "\r"]), chance.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
        quoting = csv.QUOTE_ALL if end == "\r" else quoting  # or else Python's writer does not quote a \n
        writer = csv.writer(text, delimiter=separator, lineterminator=end, quoting=quoting)
        writer.writerows([["h0", "h1", "h2"], *table])
        said = text.getvalue()
        files.append(chance.choice(["", "\ufeff"]) + (said if chance.random() < 0.5 else said.removesuffix(end)))
        tables.append((separator, table))
    for found, (separator, table) in zip(read(tmp_path, files=files, cells=[])["files"], tables, strict=True):
        assert (found["separator"], found["names"]) == (separator, ["h0", "h1", "h2"])
        assert [row["cells"] for row in found["rows"]] == table
        assert all(row["alone"] for row in found["rows"])  # also where the file is read from that row on alone
        written = "".join(row["written"] for row in found["rows"])
        assert list(csv.reader(io.StringIO(written, newline=""))) == table


def test_a_point_among_decimal_commas_is_refused_since_it_may_part_thousands(tmp_path: Path) -> None:
    texts = {"12,50": 12.5, "7": 7.0, "-,5": -0.5, "1.234": None, "1.234,56": None, "1,234,567": None, "": "missing"}
    cells = [{"type": kind, "text": text} for kind in ("number", "integer") for text in [*texts, "1.000", "7,0"]]
    found = read(tmp_path, files=[], cells=cells, decimal=",")["cells"]
    for told, (text, value) in zip(found, texts.items(), strict=False):
        if value is None:
            assert "refused" in told, text
        else:
            assert told is None if value == "missing" else float(told) == value
    assert "refused" in found[-2]  # a thousand, and not one
    assert found[-1] == "7"


def test_cells_are_read_as_in_training(tmp_path: Path) -> None:
    large = ["9223372036854775807", "-9223372036854775807", "9007199254740993", "9223372036854775808", "1e30"]
    plain = ["7", "+7", "007", "7.0", "7.", ".5", "-.5", "1.25e3", "0.1", "-0", "1,5", "1e999", "seven", "0x10", "1 2"]
    missing = ["", " ", "NA", "n/a", "NaN", "null", "-", "?", "#REF!", "-999"]
    texts = [*large, *plain, *missing, " 12 ", "'12'", "true", "False", "inf"]
    kinds = ("integer", "number", "boolean", "string")
    cells = [{"type": kind, "text": text} for kind in kinds for text in texts]
    found = iter(read(tmp_path, files=[], cells=cells)["cells"])
    for kind in kinds:
        raw = RawColumns([Column("x", kind, "carried", missing_values=("-999",))])
        frame = pl.DataFrame({"x": texts})
        expected = raw.of_rows(frame)["x"].to_list()
        unread = raw.unread(frame.schema)
        refused = frame.select(unread["x"]).to_series().to_list() if unread else [False] * len(texts)
        for text, value, bad in zip(texts, expected, refused, strict=True):
            told = next(found)
            if kind == "string":  # goes out as it stands: the server strips it, and knows the words for missing values
                assert told == (json.dumps(text) if text else None)
            elif bad or (value is not None and value == float("inf")):
                assert "refused" in told, (kind, text)
            else:
                spelt = float if kind == "number" else json.loads
                assert (told if told is None else spelt(told)) == value, (kind, text)
