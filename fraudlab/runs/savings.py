"""What the levels of a bundle save on labelled rows of its run, with intervals."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from fraudlab.bundle.money import Money, amounts_of
from fraudlab.bundle.runtime import Bundle
from fraudlab.errors import UserError
from fraudlab.metrics.bootstrap import FEWEST_GROUPS, drawn, enough
from fraudlab.metrics.cost import cost_savings
from fraudlab.runs.folder import RunFolder
from fraudlab.runs.predictions import groups_of

_RESAMPLES, _SEED = 200, 0


def savings_of(
    bundle: Bundle, run: RunFolder, predictions: Mapping[str, pl.DataFrame], admin_cost: float, recovery_share: float
) -> dict[str, Any]:
    """Savings on the test, or the validation, by alerting on the levels above ``low``, by each rule that sets them.

    Args:
        bundle: exported from the run.
        run: finished.
        predictions: of its parts.
        admin_cost: of an alert, where the bundle does not decide by money, which has its own costs.
        recovery_share: of a fraud's amount, likewise.

    Returns:
        ``part``; how many of its rows were ``left_out``, which have no amount of 0 or more; ``by``, what is drawn for
        intervals, and how many ``groups`` there are; ``rules``: of ``thresholds``
        and, where the bundle decides by it, ``money``: ``alerts_per_1000``, ``savings`` as
        :func:`fraudlab.metrics.cost.cost_savings` has them and their 95 % ``interval``, or None; ``difference``: of
        both rules' savings on the same draws.

    Raises:
        UserError: the bundle is of another run, no row has an amount of 0 or more, or of the bundle's model there are
            no labelled scores.
    """
    decision, facts = bundle.decision, run.provenance()
    same = all(bundle.manifest["run"].get(key) == facts[key] for key in ("git_commit", "data", "seed"))
    if not same or bundle.metrics != run.metrics():  # of which the bundle has a copy; no other model has the same
        raise UserError(f"bundle={bundle.path} is not of {run.path}; export that run, or name the bundle's")
    if "test" not in predictions and run.fitted_twice:
        raise UserError(f"{run.path} has no test by the model of the bundle; train without test=false")
    part = "test" if "test" in predictions else "val"
    rows = predictions[part]
    amount = amounts_of(rows["amount"])
    known = Money.decides(amount)
    if not known.any():
        raise UserError("savings need amounts of 0 or more, and no row has one; train with data.amount=<column>")
    rows, amount = rows.filter(known), amount[known]
    if decision.money is not None:
        admin_cost, recovery_share = decision.money.admin_cost, decision.money.recovery_share
    label, score = rows["label"].to_numpy(), decision.calibrate(rows["score"].to_numpy())
    levels = {"thresholds": decision.levels(score)}
    if decision.money is not None:
        levels["money"] = decision.levels(score, amount)
    alerted = {rule: (of != "low").astype(float) for rule, of in levels.items()}

    def saved(count: np.ndarray | None = None) -> list[float]:
        costs = 0.5, admin_cost, recovery_share, count
        return [cost_savings(label, made, amount, *costs) for made in alerted.values()]

    by, group = groups_of(rows, None)
    groups = int(group.max()) + 1
    resamples = _RESAMPLES if groups >= FEWEST_GROUPS else 0
    draws = np.array([saved(count) for count in drawn(group, resamples, _SEED)]).reshape(resamples, len(alerted)).T
    values = saved()
    rules = {
        rule: {"alerts_per_1000": 1000 * float(made.mean()), "savings": value, "interval": _interval(of)}
        for (rule, made), value, of in zip(alerted.items(), values, draws, strict=True)
    }
    costs = {"admin_cost": admin_cost, "recovery_share": recovery_share}
    left_out = int((~known).sum())
    found = {"part": part, "left_out": left_out, "by": by, "groups": groups, **costs, "rules": rules}
    if decision.money is not None:
        found["difference"] = {"savings": values[1] - values[0], "interval": _interval(draws[1] - draws[0])}
    return found


def _interval(draws: np.ndarray) -> list[float] | None:
    return [*map(float, np.nanquantile(draws, [0.025, 0.975]))] if len(draws) and enough(draws) else None


def savings_table(found: Mapping[str, Any]) -> str:
    """What :func:`savings_of` gave as plain text."""
    costs = f"admin_cost={found['admin_cost']:g}, recovery_share={found['recovery_share']:g}"
    drawn_over = f"95 % over {found['groups']:,} {found['by']}s"
    lines = [
        f"Savings by alerting on the bundle's levels, {found['part']}, {costs}; {drawn_over}",
        "",
        "levels by    alerts per 1,000  savings  95 % interval",
        "-" * 58,
    ]
    for rule, it in found["rules"].items():
        lines.append(f"{rule:11}  {it['alerts_per_1000']:16.2f}  {it['savings']:7.4f}  {_span(it['interval'])}")
    if (more := found.get("difference")) is not None:
        lines.append(f"{'difference':11}  {'':16}  {more['savings']:+7.4f}  {_span(more['interval'])}")
    if count := found["left_out"]:
        lines.append(f"{count:,} rows have no amount of 0 or more and are left out")
    return "\n".join(lines)


def _span(interval: list[float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"
