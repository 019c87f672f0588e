"""``python -m benchmarks.money``: what ``loss=expected_cost`` saves against cross-entropy, on weeks of the Handbook.

The book's protocol (7 training days, 7 of delay, a test week), moved a week at a time. Each run is the command a user
would type; finished ones (outputs/money/<loss>/week<n>/seed<n>) are kept. Each loss has the threshold that saves most
on its own validation, carried over to the tested model as in ``metrics.json``. A third rule alerts where the score of
cross-entropy times the amount exceeds a threshold that is chosen likewise (Bahnsen et al. 2013, Bayes minimum risk).
Prints the savings of each week and the difference in money with a 95 % interval, paired by terminal over all weeks;
writes both to money.json.
"""

import argparse
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from fraudlab.config.overrides import literal
from fraudlab.files import write_json
from fraudlab.metrics.bootstrap import drawn
from fraudlab.metrics.cost import best_cost_threshold
from fraudlab.metrics.metrics import ADMIN_COST
from fraudlab.metrics.operating_points import carried_over
from fraudlab.runs.folder import RunFolder

LOSSES = {"cross_entropy": (), "expected_cost": ("loss=expected_cost",)}
RULES = ("cross_entropy", "expected_cost", "score_x_amount")
OUTPUT = Path("outputs/money")
FIRST = date(2018, 7, 25)  # the book's training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mlp")
    parser.add_argument("--weeks", type=int, default=5)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--set", nargs="*", default=[], help="further settings of every training")
    parser.add_argument("--cost", nargs="*", default=[], help="further settings of those by expected_cost")
    parser.add_argument("--out", type=Path, default=OUTPUT, help="folder of the runs and of money.json")
    given = parser.parse_args()
    kept: dict[str, list[np.ndarray]] = {rule: [] for rule in RULES}
    terminals, lines = [], []
    for week in range(given.weeks):
        rows: dict[str, list[np.ndarray]] = {rule: [] for rule in RULES}
        for seed in given.seeds:
            runs = {loss: _run(given, loss, week, seed) for loss in LOSSES}
            test = runs["cross_entropy"].predictions("test")
            for rule in RULES:
                rows[rule].append(saved(runs.get(rule, runs["cross_entropy"]), times_amount=rule == "score_x_amount"))
        lost = float((test["amount"] * test["label"]).sum())
        base = min(lost, ADMIN_COST * len(test))
        for rule in RULES:
            kept[rule].append(np.mean(rows[rule], axis=0))
        terminals.append(test["terminal_id"].to_numpy())
        share = {rule: 1 - (lost - float(kept[rule][-1].sum())) / base for rule in RULES}
        lines.append({"week": str(FIRST + timedelta(weeks=week + 2)), "lost": lost, "savings": share})
        print(lines[-1]["week"], *(f"{rule} {value:.4f}" for rule, value in share.items()), flush=True)
    group = np.unique(np.concatenate(terminals), return_inverse=True)[1]
    differences = {}
    for rule in RULES[1:]:
        gain = np.concatenate(kept[rule]) - np.concatenate(kept["cross_entropy"])
        low, high = np.quantile([float(count @ gain) for count in drawn(group, 2000, 0)], [0.025, 0.975])
        differences[rule] = {"more_saved": float(gain.sum()), "low": float(low), "high": float(high)}
        print(f"{rule} saves {gain.sum():+,.0f} more than cross_entropy, 95 % interval {low:+,.0f} to {high:+,.0f}")
    write_json(given.out / "money.json", {"weeks": lines, "seeds": given.seeds, "differences": differences})


def saved(run: RunFolder, *, times_amount: bool) -> np.ndarray:
    """What flagging saves on each test row: of a fraud its amount, less the cost of the alert; 0 where not flagged."""
    val, test, recent = (run.predictions(part) for part in ("val", "test", "recent"))
    scored = carried_over(val["score"].to_numpy(), recent["score"].to_numpy())
    label, amount = (val[name].to_numpy() for name in ("label", "amount"))
    factor = (lambda rows: rows["amount"].to_numpy()) if times_amount else (lambda rows: np.ones(len(rows)))
    threshold = best_cost_threshold(label, scored * factor(val), amount, ADMIN_COST)
    flagged = test["score"].to_numpy().astype(np.float64) * factor(test) >= threshold
    return flagged * ((test["amount"] * test["label"]).to_numpy() - ADMIN_COST)


def _run(given: argparse.Namespace, loss: str, week: int, seed: int) -> RunFolder:
    folder = given.out / loss / f"week{week}" / f"seed{seed}"
    if not (folder / "metrics.json").is_file():
        settings = ["experiment=handbook_book", f"model={given.model}", f"seed={seed}", *LOSSES[loss], *given.set]
        settings += given.cost if loss == "expected_cost" else []
        start = f"split.train_start='{FIRST + timedelta(weeks=week)}'"
        quiet = ("report=false", "logger=none", "trainer.enable_progress_bar=false", literal("hydra.run.dir", folder))
        command = [sys.executable, "-m", "fraudlab.train", *settings, start, *quiet]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return RunFolder(folder)


if __name__ == "__main__":
    main()
