"""What the speed scripts share: their command line, the JSON that runs on several machines fill, and its table.

A record is all that one case gave on one device: ``{case, device, machine, lines}``. A line compares two sides:
``{what, ours, theirs, ratio}``; ``ratio`` says how many times better ours is, unless ``what`` says otherwise.
"""

import argparse
import json
import os
import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from fraudlab.files import write_json
from fraudlab.models.tabnet.native import compile as native

RESULTS = Path("benchmarks/results")
Line = dict[str, Any]
Case = Callable[[argparse.Namespace], list[Line]]

HEADER = ("case", "device", "compared", "rows/s", "ms/step", "peak MiB", "ratio")


def parser(description: str, cases: Sequence[str], name: str) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    output = RESULTS / f"{name}.json"
    made.add_argument("--cases", nargs="+", choices=cases, metavar="CASE", help=f"of: {', '.join(cases)}")
    made.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    made.add_argument("--rounds", type=int, default=5, help="rounds that count, after a warm-up (default 5)")
    made.add_argument("--threads", type=int, help="threads of torch (default: torch's own choice)")
    made.add_argument("--quick", action="store_true", help="tiny sizes: shows that it works, measures nothing")
    made.add_argument("--out", type=Path, default=output, help=f"JSON to add to (default {output})")
    made.add_argument("--markdown", action="store_true", help="measure nothing, print --out as a Markdown table")
    made.set_defaults(memory_of=None)
    return made


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The command line, checked and with torch's threads set; ends here where only the Markdown table is asked for."""
    arguments = parser.parse_args()
    if arguments.markdown:
        print(markdown(load(arguments.out)))
        sys.exit()
    _prepare(arguments)
    return arguments


def _prepare(arguments: argparse.Namespace) -> None:
    """Threads as asked for; end with one line where the device is not there or the metrics would be no metrics."""
    if arguments.quick and arguments.out.parent == RESULTS and not arguments.memory_of:
        sys.exit(f"error: --quick measures nothing that belongs into {arguments.out}; name another file with --out")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit("error: --device cuda: torch finds no CUDA device here; use --device cpu")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)


def measure(arguments: argparse.Namespace, cases: dict[str, Case]) -> None:
    """Measure the cases one by one, each written as soon as it is done, and print their table."""
    done = []
    for name, case in cases.items():
        record = {"case": name, "device": arguments.device, "machine": machine(arguments), "lines": case(arguments)}
        add(record, arguments.out)
        done.append(record)
    print(plain(done))


def machine(arguments: argparse.Namespace) -> dict[str, Any]:
    """Where, when and how a metric was measured."""
    facts = {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "compiled_encoder": arguments.device == "cpu" and native.operations("float") is not None,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", *sys.orig_argv[1:]]),
        "quick": arguments.quick,
    }
    return {**facts, "gpu": torch.cuda.get_device_name()} if arguments.device == "cuda" else facts


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def add(record: dict[str, Any], path: Path) -> None:
    """Put a record in the place of the one of the same case and device, and leave the others."""
    key = (record["case"], record["device"])
    others = [other for other in load(path) if (other["case"], other["device"]) != key]
    write_json(path, {"records": sorted([*others, record], key=lambda r: (r["device"], r["case"]))})


def load(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text())["records"] if path.is_file() else []


def plain(records: list[dict[str, Any]]) -> str:
    table = [HEADER, *_cells(records)]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEADER))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in table)


def markdown(records: list[dict[str, Any]]) -> str:
    """The table for the documentation, and under it the machines it was measured on."""
    rows = [HEADER, ("---", "---", "---", "---:", "---:", "---:", "---:"), *_cells(records)]
    where = dict.fromkeys(_where(record) for record in records)
    return "\n".join(["| " + " | ".join(row) + " |" for row in rows] + ["", *where])


def _where(record: dict[str, Any]) -> str:
    facts = record["machine"]
    device = facts["gpu"] if "gpu" in facts else f"{facts['cpu']}, {facts['threads']} of {facts['cores']} threads"
    return f"{record['device']}: {device}, torch {facts['torch']}, {facts['date'][:10]}."


def _cells(records: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    return [
        (
            record["case"],
            record["device"],
            line["what"],
            _pair(line, "rows_per_s", ",.0f"),
            _pair(line, "ms_per_step", ",.2f"),
            _pair(line, "growth_mib", ",.0f"),
            f"{line['ratio']:.2f}",
        )
        for record in records
        for line in record["lines"]
    ]


def _pair(line: Line, key: str, form: str) -> str:
    return " / ".join(f"{line[side][key]:{form}}" for side in ("ours", "theirs") if key in line[side])
