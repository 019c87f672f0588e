"""``python -m benchmarks.guarantees``: whether what a decision promises holds.

Over samples of scores of which all is known: how often a guaranteed recall or precision is missed, which share of the
frauds plain and class-conditional conformal prediction cover. Over the runs of ``python -m benchmarks.budgets``,
trained if they are not there: whether the alerts of the test week lie in the interval that their bundle's decision
tells, and which recall the test week has where one is promised. Exit status 1 where a promise is broken. Without
names after ``--models`` there are samples alone.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.budgets import BUDGETS, OUTPUT, trained
from fraudlab.bundle.decision import Decision
from fraudlab.config.commands import DataPlaceConfig
from fraudlab.exporter.evidence import known_before
from fraudlab.files import write_json
from fraudlab.metrics.guarantees import precision_threshold, recall_threshold, recall_threshold_of_bursts
from fraudlab.runs.data import table_of
from fraudlab.runs.folder import RunFolder
from fraudlab.runs.predictions import day_of, groups_of
from fraudlab.runs.settings import load_config

SAMPLES, DELTA, RECALL, PRECISION = 1000, 0.1, 0.8, 0.7
GROUPS = (10, 20, 40, 60)
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

    def single() -> bool | None:
        return 1 - recall_threshold(draw.random(200), RECALL, 1 - DELTA) < RECALL

    def bursts(groups: int, *, apart: bool) -> bool | None:
        group = np.repeat(np.arange(groups), draw.geometric(0.1, groups))  # the frauds of a terminal score alike
        score = draw.random(groups)[group]
        if apart:
            found, _ = recall_threshold_of_bursts(score, group, RECALL, 1 - DELTA)
        else:
            found = recall_threshold(score, RECALL, 1 - DELTA)
        return None if found is None else 1 - found < RECALL

    def precise() -> bool | None:
        score = draw.random(4000)
        found = precision_threshold(draw.random(4000) < score**3, score, PRECISION, 1 - DELTA)
        return None if found is None else truth[np.searchsorted(GRID, found[0])] < PRECISION

    def precise_of_bursts(groups: int, share: float) -> bool | None:
        """All budgets' alerts are of bursts, each of fraud or not; the precision is the same at each."""
        size = draw.geometric(0.025, groups)
        group = np.repeat(np.arange(groups), size)
        label = (draw.random(groups) < share)[group]
        rest = np.arange(groups, groups + 4 * len(group))  # of 5 rows one is above them
        score = np.append(1 + draw.random(len(group)), draw.random(len(rest)))
        every = np.append(label, np.zeros(len(rest), bool))
        found = precision_threshold(every, score, PRECISION, 1 - DELTA, np.append(group, rest))
        return None if found is None else share < PRECISION

    tried = {
        "recall": single,
        **{f"recall of {n} bursts": partial(bursts, n, apart=True) for n in GROUPS},
        **{f"recall of {n} bursts as single frauds": partial(bursts, n, apart=False) for n in GROUPS},
        "precision": precise,
        **{f"precision of {n} bursts, 0.65": partial(precise_of_bursts, n, 0.65) for n in GROUPS},
    }
    found = {}
    for name, one in tried.items():
        came = [missed for missed in (one() for _ in range(samples)) if missed is not None]
        # A precision that is not there can only be promised wrongly: of all samples, then.
        of = samples if name.startswith("precision") else len(came)
        allowed = DELTA + 2 * np.sqrt(DELTA * (1 - DELTA) / of) if of else 0.0
        found[name] = {"missed": sum(came) / max(1, of), "given": len(came) / samples, "allowed": allowed}
        line = found[name]
        print(
            f"{name:38} given in {line['given']:6.1%} of {samples} samples, missed in {line['missed']:5.1%} of {of} "
            f"(at most {allowed:.1%})"
        )
    # What it costs to forget the bursts is shown, and no promise.
    return {name: line for name, line in found.items() if "as single frauds" not in name}


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
    config = load_config(RunFolder(run).config_path)
    table = table_of(RunFolder(run), config, DataPlaceConfig(), Path(config.paths.data_dir))
    split = table.split(config.split, config.label_delay_days)
    known = known_before(table, split, recent["score"].to_numpy(), config.label_delay_days)
    decision = Decision.from_scores(*chosen_on, medium=50, high=10, recall=0.7, recent_day=day.to_numpy(), known=known)
    found = float((score >= decision.thresholds["medium"])[label == 1].mean())
    return {"budgets": budgets, "promised": 0.7, "found": found}


if __name__ == "__main__":
    main()
