"""The measured fits as a table: means, paired differences with their intervals, ratios over all tables."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy import stats

Line = dict[str, Any]


def report(lines: Sequence[Line], plain_lines: Sequence[Line], part: str) -> str:
    """Markdown: a row a table, a column a model; a difference stands beside its 95 % interval over seeds (Student's t).

    Trees are held against the plain script of their library, the others against plain LightGBM and logistic regression.
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
            row.append(_mean(mine, part) + ("" if model == "logistic_regression" else _difference(mine, other, part)))
        rows.append(row)
    made = ["| " + " | ".join(row) + " |" for row in rows]
    made.insert(1, "|" + " --- |" * 3 + " ---: |" * (len(models) + 1))
    return "\n".join([*made, "", *_ratios(ours, plain, models, tables, part)])


def _ratios(ours: Any, plain: Any, models: Sequence[str], tables: Sequence[str], part: str) -> Iterator[str]:
    for model in models:
        for name in dict.fromkeys((model, "lightgbm")):
            found = _quotients(ours, plain, model, name, tables, part)
            if found:
                mean, least = math.exp(np.mean(found)), math.exp(min(found))
                yield f"- {model} / plain {name}: {mean:.3f}, geometric mean of {len(found)} tables; least {least:.3f}"
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


def _difference(mine: dict[int, Line], other: dict[int, Line], part: str) -> str:
    seeds = sorted(mine.keys() & other.keys())
    if not seeds:
        return ""
    difference = np.array([mine[seed][part] - other[seed][part] for seed in seeds])
    if len(seeds) == 1:
        return f" ({difference[0]:+.3f})"
    half = stats.t.ppf(0.975, len(seeds) - 1) * stats.sem(difference)
    mark = " **below**" if difference.mean() + half < 0 else ""
    return f" ({difference.mean():+.3f} ± {half:.3f}){mark}"
