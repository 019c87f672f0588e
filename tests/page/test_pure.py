"""The page's modules that touch no document, run by Node: rows of a file, values to try, Python to copy."""

import ast
import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest

import fraudlab.serving

PAGE = Path(fraudlab.serving.__file__).parent / "page"
ASK = """
import { readFileSync } from "node:fs";
import { Scores } from "./scored.js";
import { Digits } from "./numbers.js";
import { isUnseen, valuesToTry } from "./training.js";
import { python } from "./snippets.js";
const { scores, refused, pages } = JSON.parse(readFileSync("given.json", "utf8"));
const kept = new Scores([0.5]);
kept.read({ first: 0, count: scores.length, start: 0, end: 0, line: 1 });
const rows = scores.map((score, row) => ({ row, score })).filter(({ row }) => !refused.includes(row));
kept.add(rows, rows.map(({ score }) => ({ score, risk_level: score >= 0.5 ? "high" : "low" })), "a");
for (const row of refused) kept.refuse([{ row, line: row + 2, problem: `no ${row}` }]);
const told = [];
for (const row of refused) told.push(await kept.told(row));
const number = { name: "x", type: "integer", nullable: false, minimum: null, maximum: null };
const words = { kind: "category", words: ["7.5", "8"], all_words: true };
console.log(JSON.stringify({
  best: pages.map(([count, level]) => kept.best(count, level)),
  told, first: kept.firstRefused.map(({ row }) => row), count: kept.refused,
  tried: valuesToTry(number, undefined, 1152921504606847123n, 60).map((value) => [typeof value, String(value)]),
  unseen: ["7.50", "7.5", "8.00", "7.05"].map((text) => isUnseen(words, new Digits(text))),
  python: python("http://here/", { constructor: true, "a'b": null, digits: new Digits("1.50") }),
}));
"""


def test_rows_words_and_values_beyond_what_is_common(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node here, which would run the page's script")
    for name in ("scored.js", "numbers.js", "training.js", "snippets.js"):
        shutil.copy(PAGE / name, tmp_path)
    chance = random.Random(3)
    scores = [chance.choice([chance.random(), 0.25, 0.75]) for _ in range(9_000)] + [n / 9_000 for n in range(9_000)]
    refused = chance.sample(range(len(scores)), 60)
    pages = [(25, 0), (100, 0), (25, 3), (700, 1), (20_000, 0)]
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "ask.mjs").write_text(ASK)
    (tmp_path / "given.json").write_text(json.dumps({"scores": scores, "refused": refused, "pages": pages}))
    done = subprocess.run([node, "ask.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    ranked = sorted((row for row in range(len(scores)) if row not in refused), key=lambda row: (-scores[row], row))
    for (count, level), best in zip(pages, found["best"], strict=True):
        of_level = [row for row in ranked if not level or (scores[row] >= 0.5) == (level == 3)]
        assert best == of_level[:count]
    assert found["told"] == [f"no {row}" for row in refused]
    assert (found["count"], found["first"]) == (60, sorted(refused)[:20])
    exact = {text for kind, text in found["tried"] if kind == "bigint"}
    assert "1152921504606847123" in exact
    assert all(kind == "bigint" or abs(int(text)) < 2**53 for kind, text in found["tried"])
    assert found["unseen"] == [False, False, False, True]
    record = next(node for node in ast.walk(ast.parse(found["python"])) if isinstance(node, ast.Dict))
    assert ast.literal_eval(record) == {"constructor": True, "a'b": None, "digits": 1.5}
