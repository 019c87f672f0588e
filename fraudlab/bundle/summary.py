"""What an export prints at its end: operating points, parity and size of a bundle."""

from collections.abc import Mapping
from typing import Any

from fraudlab.bundle.runtime import Bundle


def summary(bundle: Bundle) -> str:
    """The bundle's metrics as plain text."""
    decision, facts = bundle.decision, bundle.manifest
    level = {decision.thresholds["medium"]: "medium", decision.thresholds["high"]: "high"}
    if decision.money is not None:
        level = {}  # which no score alone decides
    lines = [
        f"Operating points{' on simulated data' if bundle.schema['simulated'] else ''}",
        "",
        f"alerts per 1,000  threshold  precision  recall      FPR{'  level from here on' if level else ''}",
        "-" * 74,
    ]
    lines += [_row(point, level) for point in decision.operating_points]
    lines += ["", *(f"{name.replace('_', ' '):16} rest on {on}" for name, on in decision.rests_on.items())]
    used = decision.calibration["map"] if decision.calibration else "none"
    lines += [
        f"calibration  {name:9}{_loss(loss)}{', in use' if name == used else ''}"
        for name, loss in decision.calibrations.items()
    ]
    lines += [
        f"alerts of {name:6} {low:.1f} to {high:.1f} per 1,000 next week, 99 %"
        for name, (low, high) in decision.alerts.items()
    ]
    if decision.money is not None:
        high, medium = decision.thresholds["high"], decision.thresholds["medium"]
        lines.append(f"levels by money  {decision.money.words()}; of these, high from score {high:.6f} on")
        lines.append(f"without amount   medium from score {medium:.6f} on, high from {high:.6f}")
    lines += [_promised(name, promise) for name, promise in decision.guarantees.items()]
    parity = bundle.parity
    sizes = {name: fact["bytes"] for name, fact in facts["files"].items()}
    of_models = sum(size for name, size in sizes.items() if name.endswith(".onnx"))
    lines += [
        "",
        f"model        {facts['model']}, {facts['precision']}, quantize={facts['quantize']}",
        *(f"member       {member['weight']:.3f} {member['model']}" for member in facts.get("members", ())),
        f"parity       {parity['max_difference']:.1e} at most in probability, "
        f"{parity['rows']:,} validation rows; {parity['records_max_difference']:.1e} on {parity['records']} records",
        f"size         {sum(sizes.values()):,} bytes, {of_models:,} of them the model",
        *_smaller(parity.get("smaller")),
        f"version      {bundle.version}",
        *(f"warning      {warning}" for warning in facts["warnings"]),
    ]
    return "\n".join(lines)


def _promised(level: str, promise: Mapping[str, Any]) -> str:
    return (
        f"{level:6} promises {promise['of']} >= {promise['target']:g} with confidence {promise['confidence']:g}: "
        f"{promise['shown']:.3f} on {promise['rests_on']}; it holds where {promise['assumes']}"
    )


def _loss(loss: float | str) -> str:
    return loss if isinstance(loss, str) else f"log loss {loss:.6f}, cross-fitted"


def _smaller(found: Mapping[str, Any] | None) -> list[str]:
    """What was left out of the model, and what it came to."""
    if found is None:
        return []
    lines = ["", "             columns  members        bytes  ms a row  average precision on validation"]
    for name in ("before", "after"):
        it = found[name]
        cells = f"{it['columns']:7}  {it['members']:7}  {it['model_bytes']:11,}  {it['milliseconds']:8.3f}"
        lines.append(f"{name:13}{cells}  {it['average_precision']:.4f}")
    left_out = ", ".join(found["left_out"]) or "no column"
    return [*lines, f"left out     {left_out}", ""]


def _row(point: Mapping[str, float | None], level: Mapping[float, str]) -> str:
    threshold = point["threshold"]
    assert threshold is not None
    shares = (("precision", 9, 3), ("recall", 6, 3), ("fpr", 7, 5))
    cells = [_cell(point[name], width, digits) for name, width, digits in shares]
    return (
        f"{point['alerts_per_1000']:16.2f}  {threshold:9.6f}  {'  '.join(cells)}  {level.get(threshold, '')}".rstrip()
    )


def _cell(value: float | None, width: int, digits: int) -> str:
    return "-".rjust(width) if value is None else f"{value:{width}.{digits}f}"
