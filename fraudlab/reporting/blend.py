"""What each member of a blend has and adds, as a table."""

from collections.abc import Mapping
from typing import Any

from fraudlab.metrics.registry import METRICS
from fraudlab.runs.folder import BLEND


def blend_rows(found: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[list[str]]:
    """The table's cells, its heading first; none where ``found`` is empty.

    Args:
        found: the content of ``blend.json``.
        metrics: of the blend, the content of ``metrics.json``.
    """
    if not found:
        return []
    name = METRICS[found["metric"]].heading
    rows = [["member", "seed", "weight", f"{name} val", f"{name} test", "adds on val", "run"]]
    for member in found["members"]:
        adds = "-" if member["adds"] is None else f"{member['adds']:+.4f}"
        alone = [_cell(member["val"]), _cell(member["test"])]
        rows.append([member["model"], str(member["seed"]), f"{member['weight']:.3f}", *alone, adds, member["run"]])
    own = [_cell(metrics[part].get(found["metric"])) for part in ("val", "test")]
    return [*rows, [BLEND, "", "1.000", *own, "", ""]]


def blend_table(found: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """:func:`blend_rows` as plain text."""
    rows = blend_rows(found, metrics)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:-1], widths[1:-1]), row[-1]]).rstrip() for row in rows
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines[1:])), *lines[1:]])


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
