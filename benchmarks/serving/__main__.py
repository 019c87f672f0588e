"""``python -m benchmarks.serving``: the server's speed and toughness, each figure beside the bar it must reach.

Starts real servers on this machine and measures them from outside, beside a plain FastAPI app with pytorch-tabnet in
the same run. About eight to ten minutes on two cores; nothing else should run meanwhile. The records are simulated.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from benchmarks import records
from benchmarks.serving.cases import BARS, CASES, QUICK, Effort
from benchmarks.serving.material import ROWS, material

HEADER = ("what", "bar", "measured", "met")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    output = records.RESULTS / "serving.json"
    parser.add_argument("--only", nargs="+", choices=CASES, metavar="CASE", help=f"of: {', '.join(CASES)}")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it works, measures nothing")
    parser.add_argument("--fresh", action="store_true", help="train and export again, whatever is there")
    parser.add_argument("--out", type=Path, default=output, help=f"JSON to add to (default {output})")
    parser.add_argument("--markdown", action="store_true", help="measure nothing, print --out as a Markdown table")
    arguments = parser.parse_args()
    if arguments.markdown:
        print(_markdown(records.load(arguments.out)))
        return
    if arguments.quick and arguments.out.parent == records.RESULTS:
        sys.exit(f"error: --quick measures nothing that belongs into {arguments.out}; name another file with --out")
    arguments.device = "cpu"
    folder = Path("outputs/benchmarks/serving/quick" if arguments.quick else "outputs/benchmarks/serving/full")
    if arguments.fresh:
        shutil.rmtree(folder, ignore_errors=True)
    os.environ.setdefault("FRAUDLAB_HASH_KEY", "h" * 32)  # with which a record hashes cards
    made = material(folder, 2_000 if arguments.quick else ROWS)
    effort = QUICK if arguments.quick else Effort()
    done = []
    for name in arguments.only or CASES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        lines = [{"bar": BARS[line["what"]], **line} for line in CASES[name](made, effort)]
        record = {"case": name, "device": "cpu", "machine": records.machine(arguments), "lines": lines}
        records.add(record, arguments.out)
        done.append(record)
    print(_plain(done))


def _rows(done: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """The table in the order of the bars."""
    lines = {line["what"]: line for record in done for line in record["lines"]}
    found = [lines[what] for what in BARS if what in lines]
    return [(line["what"], line["bar"], line["saw"], "yes" if line["met"] else "NO") for line in found]


def _plain(done: list[dict[str, Any]]) -> str:
    table = [HEADER, *_rows(done)]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEADER))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in table)


def _markdown(done: list[dict[str, Any]]) -> str:
    machines = dict.fromkeys(
        f"{r['machine']['cpu']}, {r['machine']['cores']} cores, {r['machine']['date'][:10]}." for r in done
    )
    rows = [HEADER, ("---",) * len(HEADER), *_rows(done)]
    return "\n".join(["| " + " | ".join(row) + " |" for row in rows] + ["", *machines])


if __name__ == "__main__":
    main()
