"""``python -m benchmarks.guarantees``: whether what a decision promises holds.

Over samples of scores of which all is known: how often a guaranteed recall or precision is missed, which share of the
frauds plain and class-conditional conformal prediction cover. Over the runs of ``python -m benchmarks.budgets``,
trained if they are not there: whether the alerts of the test week lie in the interval that their bundle's decision
tells, and which recall the test week has where one is promised. Exit status 1 where a promise is broken.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from benchmarks.budgets import BUDGETS, OUTPUT, trained
from fraudlab.bundle.decision import Decision
from fraudlab.files import write_json
from fraudlab.metrics.guarantees import precision_threshold, recall_threshold, recall_threshold_of_bursts
from fraudlab.runs.folder import RunFolder
from fraudlab.runs.predictions import day_of, groups_of

SAMPLES, DELTA, RECALL, PRECISION = 1000, 0.1, 0.8, 0.7
GRID = np.linspace(0, 1, 100_001)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=["lightgbm"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--set", nargs="*", default=[], help="further settings of every training")
    parser.add_argument("--out", type=Path, default=OUTPUT, help="folder of the runs and of guarantees.json")
    given = parser.parse_args()
    found = {"promises": promises(given.samples), "coverage": coverage(given.samples)}
    runs = [
        {"model": model, "seed": seed, **told(trained(given.out, model, seed, given.set))}
        for model in given.models
        for seed in given.seeds
    ]
    for run in runs:
        cells = "  ".join(
            f"{b}: {r['alerts']:.1f} in {r['low']:.1f}-{r['high']:.1f}" for b, r in run["budgets"].items()
        )
        print(
            f"{run['model']} {run['seed']}: alerts per 1,000 {cells}; "
            f"recall {run['found']:.3f}, promised {run['promised']}"
        )
    write_json(given.out / "guarantees.json", {**found, "runs": runs})
    missed = [line for line in found["promises"].values() if line["missed"] > line["allowed"]]
    out = [1 for run in runs for r in run["budgets"].values() if not r["low"] <= r["alerts"] <= r["high"]]
    print(f"{len(missed)} promises broken; {len(out)} of {sum(len(run['budgets']) for run in runs)} intervals missed")
    sys.exit(bool(missed or out or found["coverage"]["class_conditional"] < found["coverage"]["nominal"]))


def promises(samples: int) -> dict[str, dict[str, float]]:
    """How often a threshold chosen on a sample misses what it promises of all rows."""
    draw = np.random.default_rng(0)
    truth = np.cumsum(GRID[::-1] ** 3)[::-1] / np.arange(len(GRID), 0, -1)  # precision above each score
    missed = {"recall": 0, "recall of bursts": 0, "recall of bursts taken as single frauds": 0, "precision": 0}
    for _ in range(samples):
        single = recall_threshold(draw.random(200), RECALL, 1 - DELTA)
        missed["recall"] += 1 - single < RECALL
        group = np.repeat(np.arange(60), draw.integers(1, 20, 60))  # the frauds of a terminal score alike
        score = draw.random(60)[group]
        plain = recall_threshold(score, RECALL, 1 - DELTA)
        apart, _ = recall_threshold_of_bursts(score, group, RECALL, 1 - DELTA)
        missed["recall of bursts taken as single frauds"] += 1 - plain < RECALL
        missed["recall of bursts"] += apart is not None and 1 - apart < RECALL
        score = draw.random(4000)
        threshold = precision_threshold(draw.random(4000) < score**3, score, PRECISION, 1 - DELTA)
        missed["precision"] += threshold is not None and truth[np.searchsorted(GRID, threshold)] < PRECISION
    allowed = DELTA + 2 * np.sqrt(DELTA * (1 - DELTA) / samples)
    found = {name: {"missed": count / samples, "allowed": allowed} for name, count in missed.items()}
    for name, line in found.items():
        print(f"{name:42} missed in {line['missed']:.3f} of {samples} samples (at most {allowed:.3f} promised)")
    found.pop("recall of bursts taken as single frauds")  # shown for what it costs to forget the bursts
    return found


def coverage(samples: int) -> dict[str, float]:
    """The share of frauds whose label lies in the prediction set, nominal 0.9, at one fraud in 345 rows.

    Plain split conformal takes one threshold of 1 - p(label) for both classes (Vovk et al. 2005).
    """
    draw = np.random.default_rng(1)
    plain, own = [], []
    for _ in range(max(1, samples // 10)):
        label = draw.random(69_000) < 1 / 345
        score = 1 / (1 + np.exp(-(draw.normal(size=69_000) + 10.7 * label - 6)))
        wrong = np.where(label, 1 - score, score)
        most = np.quantile(wrong, 0.9, method="higher")
        fresh = 1 / (1 + np.exp(-(draw.normal(size=20_000) + 4.7)))
        plain.append((1 - fresh <= most).mean())
        own.append((fresh >= recall_threshold(score[label], 0.9, 1 - DELTA)).mean())
    found = {"nominal": 0.9, "plain": float(np.mean(plain)), "class_conditional": float(np.mean(own))}
    print(
        f"frauds covered, nominal 0.9: plain conformal {found['plain']:.4f}, own class {found['class_conditional']:.4f}"
    )
    return found


def told(run: Path) -> dict[str, object]:
    """Alerts and recall of the test week beside what the decision tells of them."""
    val, test, recent = (RunFolder(run).predictions(part) for part in ("val", "test", "recent"))
    label, score = test["label"].to_numpy(), test["score"].to_numpy()
    day = day_of(recent["time"])
    chosen_on = val["label"].to_numpy(), val["score"].to_numpy(), recent["score"].to_numpy(), groups_of(val, None)[1]
    budgets = {}
    for budget in BUDGETS:
        decision = Decision.from_scores(*chosen_on, medium=budget, high=budget, recent_day=day.to_numpy())
        low, high = decision.alerts["high"]
        budgets[budget] = {
            "alerts": 1000 * float((score >= decision.thresholds["high"]).mean()),
            "low": low,
            "high": high,
        }
    decision = Decision.from_scores(*chosen_on, medium=50, high=10, recall=0.7, recent_day=day.to_numpy())
    found = float((score >= decision.thresholds["medium"])[label == 1].mean())
    return {"budgets": budgets, "promised": 0.7, "found": found}


if __name__ == "__main__":
    main()
