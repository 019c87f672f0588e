"""``python -m benchmarks.budgets``: alerts on the test week per budget, and what calibration does to its log loss.

Each run is the command a user would type; finished ones (outputs/budgets/<model>/seed<n>) are kept. Thresholds and
calibration are those of the exported bundle. A budget of at least 5 alerts per 1,000 must hold within 15 %, a smaller
one within 15 % and the binomial 95 % band, and the log loss with calibration=platt must not exceed that without; else
the exit status is 1. Beside it stands that of calibration=best.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.commands import command
from fraudlab.bundle import load
from fraudlab.bundle.decision import Decision
from fraudlab.files import write_json
from fraudlab.metrics.calibration import log_loss
from fraudlab.runs.folder import RunFolder
from fraudlab.runs.predictions import day_of, groups_of

BUDGETS = (1, 2, 5, 10, 20, 50)
OUTPUT = Path("outputs/budgets")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["tabnet", "mlp", "lightgbm"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--set", nargs="*", default=[], help="further settings of every training")
    parser.add_argument("--out", type=Path, default=OUTPUT, help="folder of the runs and of budgets.json")
    given = parser.parse_args()
    print("alerts per 1,000 transactions of the test week, by budget; log loss as it is and calibrated\n")
    print(
        f"{'model':12}{'seed':>5}" + "".join(f"{budget:>8}" for budget in BUDGETS) + "   log loss     platt      best"
    )
    found = []
    for model in given.models:
        for seed in given.seeds:
            run = trained(given.out, model, seed, given.set)
            found.append({"model": model, "seed": seed, **measured(run)})
            print(_line(found[-1]), flush=True)
    write_json(given.out / "budgets.json", found)
    sys.exit(any(line["missed"] for line in found))


def trained(out: Path, model: str, seed: int, settings: Sequence[str]) -> Path:
    """The folder of a run: trained now, or found."""
    run = out / model / f"seed{seed}"
    if not (run / "metrics.json").is_file():
        quiet = ("report=false", "logger=none", "trainer.enable_progress_bar=false", f"hydra.run.dir={run}")
        command("train", "experiment=handbook_book", f"model={model}", f"seed={seed}", *settings, *quiet)
    return run


def measured(run: Path) -> dict[str, object]:
    """Alerts per 1,000 for each budget and log losses on the test of a run, and what is beyond its bound."""
    val, test, recent = (RunFolder(run).predictions(part) for part in ("val", "test", "recent"))
    label, score = test["label"].to_numpy(), test["score"].to_numpy()
    chosen_on = val["label"].to_numpy(), val["score"].to_numpy(), recent["score"].to_numpy(), groups_of(val, None)[1]

    alerts = {}
    for budget in BUDGETS:
        decision = Decision.from_scores(*chosen_on, medium=budget, high=budget, calibration="platt")
        alerts[budget] = 1000 * float((decision.calibrate(score) >= decision.thresholds["high"]).mean())
    day = day_of(recent["time"])
    assert day is not None
    decision = Decision.from_scores(*chosen_on, medium=50, high=10, calibration="platt", recent_day=day.to_numpy())
    if not (run / "bundle" / "manifest.json").is_file():
        command("export", f"run={run}", "calibration=platt", "medium_per_1000=50", "high_per_1000=10")
    assert load(run / "bundle").decision == decision, "the bundle decides otherwise than its run's predictions say"
    best = Decision.from_scores(*chosen_on, medium=50, high=10, calibration="best")
    losses = log_loss(label, score), log_loss(label, decision.calibrate(score))
    missed = [budget for budget in BUDGETS if abs(alerts[budget] - budget) > _allowed(budget, len(test))]
    return {
        "alerts_per_1000": alerts,
        "log_loss": losses[0],
        "calibrated_log_loss": losses[1],
        "best_log_loss": log_loss(label, best.calibrate(score)),
        "best": best.calibration["map"] if best.calibration else "none",
        "missed": [*missed, *(["log loss"] if losses[1] > losses[0] else [])],
    }


def _allowed(budget: float, rows: int) -> float:
    share = budget / 1000
    band = 1.96 * math.sqrt(share * (1 - share) / rows) * 1000 if budget < 5 else 0.0
    return 0.15 * budget + band


def _line(found: dict[str, object]) -> str:
    alerts = "".join(f"{value:8.2f}" for value in np.array(list(found["alerts_per_1000"].values())))  # type: ignore[attr-defined]
    missed = f"   missed: {found['missed']}" if found["missed"] else ""
    return (
        f"{found['model']!s:12}{found['seed']!s:>5}{alerts}   {found['log_loss']:.6f}"
        f"  {found['calibrated_log_loss']:.6f}  {found['best_log_loss']:.6f} ({found['best']}){missed}"
    )


if __name__ == "__main__":
    main()
