"""The measured fits as a table: means, paired differences with their intervals, ratios over all tables."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy import stats

Line = dict[str, Any]


def report(lines: Sequence[Line], plain_lines: Sequence[Line], part: str) -> str:
    """Markdown: a row a table, a column a model; a difference stands beside its 95 % interval over seeds (Student's t).

    Trees are held against the plain script of their library, the others against fraudlab's logistic regression.

    Args:
        lines: what was measured of fraudlab's side.
        plain_lines: what was measured of the plain scripts.
        part: of which rows, ``val`` or ``test``.
    """
    ours = _by(lines, "fraudlab")
    plain = _by(plain_lines, "plain")
    models = list(dict.fromkeys(line["model"] for line in lines if line["side"] == "fraudlab"))
    tables = list(dict.fromkeys(line["table"] for line in lines))
    rows = [["table", "rows", "frauds", "plain LightGBM", *models]]
    for table in tables:
        facts = next((line for line in plain_lines if line["table"] == table and "rows" in line), {})
        row = [table, str(sum(facts.get("rows", []))), str(sum(facts.get("frauds", [])))]
        row.append(_mean(plain.get((table, "lightgbm"), {}), part))
        for model in models:
            mine = ours.get((table, model), {})
            other = plain.get((table, model)) or ours.get((table, "logistic_regression"), {})
            row.append(_mean(mine, part) + ("" if model == "logistic_regression" else _shown(mine, other, part)))
        rows.append(row)
    made = ["| " + " | ".join(row) + " |" for row in rows]
    made.insert(1, "|" + " --- |" * 3 + " ---: |" * (len(models) + 1))
    seeds = sorted({line["seed"] for line in lines})
    said = f"Average precision on {'validation' if part == 'val' else 'test'} rows, means over draws {seeds}:"
    return "\n".join([said, "", *made, "", *_summary(ours, plain, models, tables, part), ""])


def _summary(ours: Any, plain: Any, models: Sequence[str], tables: Sequence[str], part: str) -> Iterator[str]:
    """Lines for each model: geometric means, tables on which it is below another beyond the interval, time."""
    for model in models:
        others = {f"plain {name}": (plain, name) for name in (model, "lightgbm")}
        if model not in ("logistic_regression", "lightgbm"):
            others["logistic_regression"] = (ours, "logistic_regression")
        for said, (side, name) in others.items():
            if found := _quotients(ours, side, model, name, tables, part):
                mean, least = math.exp(np.mean(found)), math.exp(min(found))
                below = [t for t in tables if _is_below(ours.get((t, model), {}), side.get((t, name), {}), part)]
                yield (
                    f"- {model} / {said}: {mean:.3f}, geometric mean of {len(found)} tables; least {least:.3f}; below "
                    f"it beyond the interval on {len(below)}" + (f" ({', '.join(below)})" if below else "")
                )
        if model != "lightgbm" and (times := _quotients(ours, ours, model, "lightgbm", tables, "seconds")):
            mean, most = math.exp(np.mean(times)), math.exp(max(times))
            yield f"- {model}: {mean:.1f} times as long a fit as fraudlab's LightGBM, at most {most:.1f}"


def _quotients(mine: Any, other: Any, model: str, name: str, tables: Sequence[str], key: str) -> list[float]:
    """Logarithm of the quotient of two models' means over the seeds that both have, for each table."""
    found = []
    for table in tables:
        ours, theirs = mine.get((table, model), {}), other.get((table, name), {})
        if seeds := sorted(ours.keys() & theirs.keys()):
            found.append(math.log(np.mean([ours[s][key] for s in seeds]) / np.mean([theirs[s][key] for s in seeds])))
    return found


def _by(lines: Sequence[Line], side: str) -> dict[tuple[str, str], dict[int, Line]]:
    found: dict[tuple[str, str], dict[int, Line]] = {}
    for line in lines:
        if line["side"] == side:
            found.setdefault((line["table"], line["model"]), {})[line["seed"]] = line
    return found


def _mean(of_seed: dict[int, Line], part: str) -> str:
    return f"{np.mean([line[part] for line in of_seed.values()]):.3f}" if of_seed else "–"


def _difference(mine: dict[int, Line], other: dict[int, Line], part: str) -> tuple[float, float] | None:
    """Mean difference over the seeds that both have, and half of its 95 % interval; NaN of one seed alone."""
    seeds = sorted(mine.keys() & other.keys())
    if not seeds:
        return None
    difference = np.array([mine[seed][part] - other[seed][part] for seed in seeds])
    half = stats.t.ppf(0.975, len(seeds) - 1) * stats.sem(difference) if len(seeds) > 1 else math.nan
    return float(difference.mean()), float(half)


def _is_below(mine: dict[int, Line], other: dict[int, Line], part: str) -> bool:
    found = _difference(mine, other, part)
    return found is not None and sum(found) < 0


def _shown(mine: dict[int, Line], other: dict[int, Line], part: str) -> str:
    if (found := _difference(mine, other, part)) is None:
        return ""
    mean, half = found
    if math.isnan(half):
        return f" ({mean:+.3f})"
    return f" ({mean:+.3f} ± {half:.3f})" + (" **below**" if mean + half < 0 else "")
