"""The model card of a bundle: what it was trained on, how good it is, and where its limits are."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fraudlab.bundle.runtime import Bundle

FILE, TEXT = "model_card.json", "model_card.md"

_PARTS = (("validation", "val"), ("test", "test"))
_MOST_COLUMNS = 20


def card(bundle: Bundle, facts: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The card as plain data; of a bundle without one, what its other files tell.

    Args:
        bundle: loaded.
        facts: what export knows of the run, as ``model_card.json`` keeps it; None reads that file.
    """
    if facts is None:
        path = bundle.path / FILE
        facts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    decision = bundle.decision.to_dict()
    return {
        "data": {"name": bundle.schema["name"], "simulated": bundle.schema["simulated"], **facts.get("data", {})},
        "model": bundle.manifest.get("model"),
        "created": bundle.manifest.get("created"),
        "split": facts.get("split"),
        "metrics": {part: bundle.metrics[part] for part in ("val", "test") if part in bundle.metrics},
        "intervals": facts.get("intervals"),
        "operating_points": decision["operating_points"],
        "thresholds": decision["thresholds"],
        "budget": decision["budget"],
        "money": None if bundle.decision.money is None else bundle.decision.money.words(),
        "rests_on": decision["rests_on"],
        "calibration": {"curve": decision["calibration"], **facts.get("calibration", {})},
        "importance": facts.get("importance"),
        "tried": facts.get("tried"),
        "limits": _limits(bundle, facts),
    }


def _limits(bundle: Bundle, facts: Mapping[str, Any]) -> list[str]:
    found = []
    if bundle.schema["simulated"]:
        found.append("The data are simulated: nothing here says how good the model is on real transactions.")
    split = facts.get("split") or {}
    span = (split.get("parts") or {}).get("training") or {}
    if span.get("from"):
        says = f"It has learnt from transactions of {span['from']} to {span['to']}"
        found.append(f"{says}; later ones may differ: watch drift and performance.")
    if split.get("label_delay_days"):
        found.append(
            f"A transaction counts as genuine where no fraud was known {split['label_delay_days']} days after it: "
            "fraud that is told later, or never, is not in any number here."
        )
    needed = len(bundle.never_missing)
    if needed:
        found.append(f"A record must have the {needed} fields that every training row had; without them it is refused.")
    if not bundle.explains:
        found.append("It does not say what a score rests on.")
    found.append(
        "It ranks transactions for people to look at. A score is a probability under the conditions above, no proof: "
        "decide about a person by more than the score."
    )
    return [*found, *bundle.manifest.get("warnings", ())]


def markdown(of: Mapping[str, Any]) -> str:
    """The card as Markdown."""
    data = of["data"]
    lines = [f"# Model card: {_plain(data['name'])}, {_plain(of['model'])}", ""]
    if of["created"]:
        lines += [f"Exported {of['created']}.", ""]
    lines += ["## Data", "", f"- table: {_plain(data['name'])}{' (simulated)' if data['simulated'] else ''}"]
    lines += [f"- {name.replace('_', ' ')}: {_plain(data[name])}" for name in data if name not in ("name", "simulated")]
    lines += [*_split(of["split"]), "", "## Metrics", "", *_metrics(of), "", "## Operating points", ""]
    points = of["operating_points"]
    names = ("alerts_per_1000", "threshold", "precision", "recall", "fpr")
    lines += _table([name.replace("_", " ") for name in names], [[point[name] for name in names] for point in points])
    levels = [
        f"{level} from {_number(of['thresholds'][level])} ({of['budget'][level]:g} alerts per 1,000)"
        for level in of["budget"]
    ]
    by_money = "" if of["money"] is None else f" By money: {_plain(of['money'])}; by the score where no amount is."
    lines += ["", f"Levels: {', '.join(levels)}.{by_money}", ""]
    lines += [f"- {name.replace('_', ' ')} rest on {_plain(on)}" for name, on in of["rests_on"].items()]
    lines += ["", "## Calibration", "", *_calibration(of["calibration"])]
    if of["importance"]:
        lines += [
            "",
            "## What scores rest on",
            "",
            f"Mean share over {of['importance']['rows']:,} validation rows.",
            "",
        ]
        columns = of["importance"]["columns"][:_MOST_COLUMNS]
        lines += _table(["column", "share"], [[each["name"], each["share"]] for each in columns])
    lines += ["", "## What was tried", "", _plain(of["tried"] or "Nothing is on record.")]
    lines += ["", "## Limits of use", "", *(f"- {_plain(limit)}" for limit in of["limits"])]
    return "\n".join(lines) + "\n"


def _split(split: Mapping[str, Any] | None) -> list[str]:
    if not split:
        return []
    settings = ", ".join(f"{key}={value}" for key, value in split["settings"].items())
    lines = ["", "## Split", "", f"- settings: {_plain(settings)}", f"- label delay: {split['label_delay_days']} days"]
    lines += [f"- {_plain(split['says'])}", ""]
    rows = [
        [name, part["rows"], part["frauds"], part["from"] or "–", part["to"] or "–"]
        for name, part in split["parts"].items()
    ]
    return [*lines, *_table(["part", "rows", "frauds", "from", "to"], rows)]


def _metrics(of: Mapping[str, Any]) -> list[str]:
    metrics, intervals = of["metrics"], of["intervals"] or {"metrics": {}, "part": None}
    names = list(dict.fromkeys(name for part in metrics.values() for name in part))
    titles = {key: title for title, key in _PARTS}
    rows = []
    for name in names:
        band = intervals["metrics"].get(name)
        cells = [metrics[part].get(name) for part in metrics]
        rows.append([name.replace("_", " "), *cells, f"{_number(band[0])} to {_number(band[1])}" if band else ""])
    lines = _table(["metric", *(titles[part] for part in metrics), "95 % interval"], rows)
    if intervals["part"]:
        groups = f"{intervals['groups']:,} {intervals['by']}s"
        lines += ["", f"Intervals are of the {titles[intervals['part']]}: its {groups} drawn anew."]
    return lines


def _calibration(of: Mapping[str, Any]) -> list[str]:
    curve = of["curve"]
    lines = ["Scores are the model's own." if curve is None else _curve(curve)]
    if of.get("points"):
        rows = [[point["score"], point["frauds"], point["rows"]] for point in of["points"]]
        lines += ["", *_table(["mean score", f"share of frauds ({of['part']})", "rows"], rows)]
    return lines


def _curve(curve: Mapping[str, Any]) -> str:
    if curve["map"] == "isotonic":
        return f"Isotonic regression with {len(curve['log_odds'])} knots."
    numbers = ", ".join(f"{name} {_number(value)}" for name, value in curve.items() if name != "map")
    return f"{ {'platt': 'Platt scaling', 'beta': 'Beta calibration'}[curve['map']] }: {numbers}."


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return [*lines, *(f"| {' | '.join(map(_cell, row))} |" for row in rows)]


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return _number(value)
    return f"{value:,}" if isinstance(value, int) else _plain(value)


def _number(value: float) -> str:
    return f"{value:.4g}"


def _plain(text: Any) -> str:
    """A text that Markdown shows as it is, on one line: names come from users' tables."""
    one_line = " ".join(str(text).split())
    for sign, shown in (
        ("&", "&amp;"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ("|", "\\|"),
        ("`", "\\`"),
        ("[", "\\["),
        ("*", "\\*"),
    ):
        one_line = one_line.replace(sign, shown)
    return one_line
