"""``python -m benchmarks.nowcast``: whether the intervals of estimated metrics hold the values that labels give later.

Each replay is a simulated service of its own: 30 weeks whose fraud rate differs from week to week, scores that are not
quite calibrated, labels after 7 to 90 days, a tenth of the frauds never told, genuine transactions told as fraud and
taken back. In week 26 each young week is estimated, from what is known then, and held against its own metrics in the
end. Prints and writes the share of intervals that hold the later value (benchmarks/results/nowcast.json).
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fraudlab.files import write_json
from fraudlab.metrics.label_delays import KnownRows
from fraudlab.metrics.nowcast import LEVEL, estimate, learn, metrics_of

RESULTS = Path("benchmarks/results/nowcast.json")
WEEKS, NOW, HORIZON, ADMIN_COST = 30, 26, 98, 2.5
AGES = (1, 4, 8, 12)
"""Weeks since the beginning of the weeks that are estimated: no label yet, some, most, nearly all."""


def service(seed: int, rows: int, spread: float) -> dict[str, np.ndarray]:
    """Rows of ``WEEKS`` weeks: when they were scored (days), their scores, and what will be told of them."""
    chance = np.random.default_rng(seed)
    week = np.repeat(np.arange(WEEKS), rows)
    n = len(week)
    odds = chance.normal(-6.3, 2.0, n)
    p = 1 / (1 + np.exp(-(odds + chance.normal(0, spread, WEEKS)[week])))
    fraud = chance.random(n) < p
    delay = 7 + np.minimum(chance.gamma(1.5, 15, n), 83)
    wrong = ~fraud & (chance.random(n) < 0.08 * p)
    told = np.where(fraud & (chance.random(n) < 0.9) | wrong, delay, np.nan)
    revoked = np.where(wrong | (fraud & (chance.random(n) < 0.03)), told + chance.uniform(1, 10, n), np.nan)
    return {
        "week": week,
        "at": 7 * week + 7 * chance.random(n),
        "score": 1 / (1 + np.exp(-(1.15 * odds + 0.3))),
        "told": told,
        "revoked": revoked,
        "amount": chance.gamma(2, 30, n) * (1 + fraud),
    }


def known(service: dict[str, np.ndarray], day: float) -> KnownRows:
    """What is known on ``day``; alerts are the top 1 % of all scores."""
    rows = {name: values[service["at"] < day] for name, values in service.items()}
    age = day - rows["at"]
    return KnownRows(
        week=rows["week"],
        score=rows["score"],
        age=age,
        told=np.where(rows["told"] <= age, rows["told"], np.nan),
        revoked=np.where(rows["revoked"] <= age, rows["revoked"], np.nan),
        alerted=rows["score"] >= np.quantile(service["score"], 0.99),
        weight=np.ones(len(age)),
        amount=rows["amount"],
    )


def replay(seed: int, rows: int, spread: float) -> dict[tuple[str, int], tuple[bool, float]]:
    """By metric and age in weeks: whether the interval held the later value, and how wide it was."""
    happened = service(seed, rows, spread)
    now, later = known(happened, 7.0 * NOW), known(happened, 7.0 * WEEKS + HORIZON)
    past = learn(now, HORIZON)
    assert past is not None
    found = {}
    for age in AGES:
        estimated = estimate(past, now.where(now.week == NOW - age), ADMIN_COST, seed)
        week = later.where(later.week == NOW - age)
        came = metrics_of(week, week.final_fraud(HORIZON), ADMIN_COST)
        for name, each in estimated.items():
            if np.isfinite(came[name]):
                found[name, age] = each.low <= came[name] <= each.high, each.high - each.low
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replays", type=int, default=200)
    parser.add_argument("--rows", type=int, default=4000, help="a week")
    parser.add_argument("--spread", type=float, default=0.2, help="of the weeks' log-odds of fraud")
    parser.add_argument("--seed", type=int, default=0, help="of the first replay")
    given = parser.parse_args()
    held = defaultdict(list)
    for seed in tqdm(range(given.seed, given.seed + given.replays), desc="replays"):
        for key, found in replay(seed, given.rows, given.spread).items():
            held[key].append(found)
    table = {
        f"{name}, {age} weeks": {"replays": len(each), **dict(zip(("held", "width"), np.mean(each, 0), strict=True))}
        for (name, age), each in sorted(held.items())
    }
    print(f"{'intervals at ' + format(LEVEL, '.0%'):34} held  width")
    for name, row in table.items():
        print(f"{name:32} {row['held']:6.1%} {row['width']:8.3f}")
    write_json(RESULTS, {**vars(given), "intervals": table})


if __name__ == "__main__":
    main()
