"""The page docs/benchmarks.md, made of benchmarks/results/*.json."""

import ast
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from page_tables import table

_HEAD = """# Benchmarks

{made}

Each table comes from a file in `benchmarks/results/`, and the command beside it made its figures. A ratio says how many
times better fraudlab is than what it is compared with, unless the row says otherwise. Where a cell has two figures, the
first is fraudlab's. Both sides of a comparison ran on the same machine, in turns.
"""
_METRICS = {
    "roc_auc": "AUC ROC",
    "average_precision": "average precision",
    "card_precision_at_100": "card precision at 100",
    "recall_at_fpr_0.01": "recall at 1 % FPR",
}
_PAGES = {"tables": "tables.md", "history_accuracy": "features.md"}
_UNITS = {"rows_per_s": ("rows/s", ",.0f"), "ms_per_step": ("ms/step", ",.2f"), "growth_mib": ("peak MiB", ",.0f")}


def page(made: str, repository: Path) -> str:
    """The page; ``made`` is the comment that says so."""
    lines = [_HEAD.format(made=made)]
    for path in sorted((repository / "benchmarks" / "results").glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        lines += [f"## {path.stem}", "", *_about(repository / "benchmarks", path.stem)]
        if isinstance(found, list):  # single fits, far too many to print
            lines += [f"{len(found)} fits; [{_PAGES[path.stem]}]({_PAGES[path.stem]}) has their tables.", ""]
        elif "records" in found:
            lines += _of_records(found["records"])
        else:
            lines += _of_runs(found) if "results" in found else _of_tree(found)
    return "\n".join(lines)


def _about(folder: Path, name: str) -> list[str]:
    """What the script with that name says of itself, in its first paragraph."""
    name = "results" if name == "metrics" else name
    path = folder / name / "__init__.py" if (folder / name).is_dir() and name != "results" else folder / f"{name}.py"
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    first = " ".join(said.split("\n\n")[0].split()).replace("``", "`")
    return [re.sub(r"\bWrites \S+\.json\.", "", first).strip(), ""]


def _of_records(records: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Comparisons and targets, then the commands with their machines."""
    lines = [(record, line) for record in records for line in record["lines"]]
    if compared := [(record, line) for record, line in lines if "ours" in line]:
        shown = [key for key in _UNITS if any(key in line["ours"] for _, line in compared)]
        rows = [
            [_case(record), line["what"], *(_pair(line, key) for key in shown), f"{line['ratio']:.2f}"]
            for record, line in compared
        ]
        yield from table(["case", "compared", *(_UNITS[key][0] for key in shown), "ratio"], rows)
    if aimed := [(record, line) for record, line in lines if "bar" in line]:
        rows = [[line["what"], line["bar"], line["saw"] + ("" if line["met"] else " (missed)")] for _, line in aimed]
        yield from table(["measured", "target", "seen"], rows)
    made: dict[str, list[str]] = {}
    for record in records:
        made.setdefault(_made_by(record["machine"]), []).append(_case(record))
    yield from (f"- {how}: {', '.join(cases)}" for how, cases in made.items())
    yield ""


def _case(record: dict[str, Any]) -> str:
    return record["case"] if record["device"] == "cpu" else f"{record['case']} ({record['device']})"


def _made_by(machine: dict[str, Any]) -> str:
    device = machine.get("gpu") or f"{machine['cpu']}, {machine['threads']} of {machine['cores']} threads"
    return f"`{machine['command']}` on {machine['date'][:10]}, {device}, PyTorch {machine['torch']}"


def _pair(line: dict[str, Any], key: str) -> str:
    return " / ".join(f"{line[side][key]:{_UNITS[key][1]}}" for side in ("ours", "theirs") if key in line[side])


def _of_runs(found: dict[str, Any]) -> Iterator[str]:
    """Metrics of the experiments on their test, mean and deviation over seeds."""
    seeds = ", ".join(map(str, found["seeds"]))
    yield from (f"Test: mean ± standard deviation over the seeds {seeds}; {found['machine']['cpus']} cores.", "")
    rows = []
    for result in found["results"].values():
        cells = [f"{result['test'][key]['mean']:.3f} ± {result['test'][key]['std']:.3f}" for key in _METRICS]
        data = "simulated" if result["simulated"] else "real"
        rows.append([f"`{result['command']}`", data, *cells, f"{result['train_seconds']['mean']:.0f} s"])
    yield from table(["command", "data", *_METRICS.values(), "training"], rows)


def _of_tree(found: dict[str, Any]) -> Iterator[str]:
    """Any other content: a table for all parts that have the same figures."""
    alike: dict[tuple[str, ...], list[list[str]]] = {}

    def walk(part: dict[str, Any], where: tuple[str, ...]) -> None:
        figures = {key: value for key, value in part.items() if not isinstance(value, dict)}
        figures = {key: value for key, value in figures.items() if not isinstance(value, list) or len(value) < 3}
        if figures:
            alike.setdefault(tuple(figures), []).append([", ".join(where) or "all", *map(_figure, figures.values())])
        for key, value in part.items():
            if isinstance(value, dict):
                walk(value, (*where, key))

    walk(found, ())
    for names, rows in alike.items():
        yield from table(["of", *(name.replace("_", " ") for name in names)], rows)


def _figure(value: Any) -> str:
    if isinstance(value, list):
        return " to ".join(map(_figure, value)) or "none"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 1000 else f"{value:,.0f}"
