"""A challenger held against the champion on the transactions that both have scored.

At equal budget: the alerts that would be exchanged, their money and their reasons. Once labels are final: the
difference of both's metrics with a paired interval, and what a rule that was stated beforehand says of it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraudlab.bundle import Bundle
from fraudlab.config.challenger import METRICS
from fraudlab.errors import UserError
from fraudlab.metrics.bootstrap import Resampled, drawn
from fraudlab.monitoring import performance, records

SIDES = ("champion", "challenger")
ERROR = 0.05
"""By chance a challenger that is no better is promoted in half of this, over all planned looks."""
_RESAMPLES = 2000  # at least
_OF_A_LOOK = 400  # resamples, of which ten lie beyond either end of its interval
_MOST_REASONS = 10
_Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Question:
    """What is asked of a record.

    Attributes:
        bundle: the champion.
        moment: as of when; nothing later is looked at.
        version: of the challenger; None: the one that scored last.
        budget: alerts per 1,000 of either side.
        mature_days: until a label is final; None: labels are not looked at.
        metric: that decides.
        looks: at labels that are planned in all.
    """

    bundle: Bundle
    moment: datetime
    version: str | None
    budget: float
    mature_days: int | None
    metric: str
    looks: int


def compare(folder: Path, question: Question) -> tuple[dict[str, Any], pl.DataFrame]:
    """The report, plain data, and a row for each alert of either side.

    Raises:
        UserError: the folder is no record, or has no transaction that both have scored.
    """
    role = {field["role"]: field["name"] for field in question.bundle.schema["fields"]}
    amount, card = role.get("amount"), role.get("card")
    if question.metric == "value_recall" and amount is None:
        raise UserError(
            f"metric=value_recall weighs amounts, which bundle {question.bundle.version} does not have; "
            "take metric=recall"
        )
    wanted = [pl.col(f"challenger_{name}") for name in ("version", "score", "risk_level", "reasons")]
    wanted += [pl.col(name) for name in ("risk_level", "rule", "reasons", "scored_at")] + [_card(folder, card)]
    asked = performance.Question(question.moment, question.mature_days or 1, "received", amount, 0.0)
    frame, counts = performance.known(folder, asked, *wanted)
    own = frame.filter(pl.col("bundle_version") == question.bundle.version)
    scored = own.filter(pl.col("challenger_version").is_not_null()).sort("scored_at", "request_id", "position")
    if scored.is_empty():
        raise UserError(
            f"{folder} has no transaction that bundle {question.bundle.version} answered and a challenger scored; "
            "serve it with serving.challenger=<bundle>, or give the bundle that answered"
        )
    version = question.version or scored["challenger_version"][-1]
    both = scored.filter(pl.col("challenger_version") == version)
    if both.is_empty():
        known = ", ".join(scored["challenger_version"].unique(maintain_order=True))
        raise UserError(f"no challenger {version} has scored in {folder}; there are: {known}")
    since = both["scored_at"][0]
    recent = pl.col("scored_at") >= since
    unscored = own.filter(pl.col("challenger_version").is_null() & recent).height
    scores = {"champion": both["score"].to_numpy(), "challenger": both["challenger_score"].to_numpy()}
    weight = both["sample_weight"].fill_null(1.0).to_numpy()  # transactions that a recorded one stands for
    within = {side: _Within.budget(score, weight, question.budget) for side, score in scores.items()}
    alerts = {side: within[side].whole for side in SIDES}
    rows = performance.rows_of(both, amount)
    horizon = question.mature_days
    mature = np.zeros(len(both), bool) if horizon is None else rows.age >= horizon
    fraud = rows.final_fraud(horizon or 0) & mature
    parts = {
        "champion_only": alerts["champion"] & ~alerts["challenger"],
        "both": alerts["champion"] & alerts["challenger"],
        "challenger_only": alerts["challenger"] & ~alerts["champion"],
    }
    money = np.zeros(len(both)) if rows.amount is None else rows.amount
    report: dict[str, Any] = {
        "as_of": question.moment.isoformat(),
        "since": since.isoformat(),
        "champion": question.bundle.version,
        "challenger": version,
        "transactions": len(both),
        "unscored": unscored,
        "of_other_bundles": frame.filter((pl.col("bundle_version") != question.bundle.version) & recent).height,
        "of_other_challengers": len(scored) - len(both),
        "transactions_without_amount": counts["transactions_without_amount"],
        "budget_per_1000": question.budget,
        "by_money": both["rule"].is_not_null().any(),
        "mature_days": horizon,
        "alerts": {
            side: {
                "threshold": within[side].threshold,
                "count": float(weight[alerts[side]].sum()),
                "in_a_tie": float(weight @ within[side].share - weight[alerts[side]].sum()),
                "served_per_1000": _served(both[name]),
            }
            for side, name in zip(SIDES, ("risk_level", "challenger_risk_level"), strict=True)
        },
        "swap": {
            name: {
                "count": float(weight[part].sum()),
                "amount": None if rows.amount is None else float(weight[part] @ money[part]),
                "labelled": float(weight[part & mature].sum()),
                "frauds": float(weight[part & fraud].sum()),
                "fraud_amount": None if rows.amount is None else float(weight[part & fraud] @ money[part & fraud]),
                "reasons": _reasons(both.filter(part), name),
            }
            for name, part in parts.items()
        },
        "labels": None,
    }
    if horizon is not None:
        group = _groups(both["card"])
        sides = {
            side: _Side(score[mature], within[side].share[mature], fraud[mature], money[mature])
            for side, score in scores.items()
        }
        report["labels"] = {
            "rows": int(mature.sum()),
            "frauds": int(fraud.sum()),
            "metrics": _metrics(sides, weight[mature], group[mature], question.looks)
            if fraud.any() and (mature & ~fraud).any()
            else {},
        }
    report["decision"] = _decision(report, question)
    return report, _exchanged(both, parts)


def _served(levels: pl.Series) -> dict[str, float]:
    """Alerts per 1,000 at the thresholds of the bundle itself, counted from the top."""
    high, medium = (1000 * int((levels == name).sum()) / len(levels) for name in ("high", "medium"))
    return {"high": high, "medium": high + medium}


def _reasons(alerts: pl.DataFrame, part: str) -> dict[str, float]:
    """The strongest reason of each alert that has any, as shares: of who alerts, the champion where both do."""
    if part == "challenger_only":
        first = alerts["challenger_reasons"].list.first()
    else:
        first = alerts.select(pl.col("reasons").list.first().struct.field("feature")).to_series()
    told = first.drop_nulls().value_counts(sort=True, name="count").head(_MOST_REASONS)
    total = first.count()
    return {name: count / total for name, count in told.iter_rows()}


def _card(folder: Path, card: str | None) -> pl.Expr:
    """Each row's card, null where the record has none."""
    fields = records.settled(folder, lambda: records.rows(folder).collect_schema()["input"])
    assert isinstance(fields, pl.Struct)
    known = card in [field.name for field in fields.fields]
    return (pl.col("input").struct.field(card) if known and card else pl.lit(None)).cast(pl.String).alias("card")


def _groups(cards: pl.Series) -> NDArray[np.int64]:
    """Number of each row's card: frauds of one are no independent evidence. Each row is one where none is known."""
    alone = pl.int_range(len(cards), eager=True).cast(pl.String)
    named = pl.select(pl.when(cards.is_null()).then("row " + alone).otherwise("card " + cards)).to_series()
    return named.rank("dense").to_numpy().astype(np.int64) - 1


@dataclass(frozen=True)
class _Within:
    """A side's alerts within the budget.

    Attributes:
        threshold: the lowest score all of whose rows are alerted; above the top one where a tie there exceeds it.
        whole: rows of at least that score, ``[N]``.
        share: of each row that is alerted, ``[N]``, 0 to 1: of the tie below the threshold a part, as if drawn at
            random, so that both sides have as many alerts.
    """

    threshold: float
    whole: _Flags
    share: NDArray[np.float64]

    @classmethod
    def budget(cls, score: NDArray[np.float64], weight: NDArray[np.float64], per_1000: float) -> "_Within":
        levels, group = np.unique(-score, return_inverse=True)
        total = np.bincount(group, weight)
        through = np.cumsum(total)
        most = np.floor(per_1000 * through[-1] / 1000)
        whole = np.flatnonzero(through <= most)
        threshold = -levels[whole[-1]] if len(whole) else np.nextafter(-levels[0], 2.0)
        share = np.clip((most - (through - total)) / total, 0.0, 1.0)
        return cls(float(threshold), score >= threshold, share[group])


class _Side:
    """Metrics of a side, by the order of ``METRICS``, where row i is there ``count[i]`` times."""

    def __init__(
        self, score: NDArray[np.float64], share: NDArray[np.float64], fraud: _Flags, money: NDArray[np.float64]
    ) -> None:
        self._ranked = Resampled(fraud, score)
        self._alerts, self._frauds = np.flatnonzero(share), np.flatnonzero(fraud)
        self._caught = np.flatnonzero(fraud & (share > 0))
        self._share, self._money = share, money

    def __call__(self, count: NDArray[Any]) -> NDArray[np.float64]:
        alerts, frauds = count[self._alerts] @ self._share[self._alerts], count[self._frauds]
        caught = count[self._caught] * self._share[self._caught]
        parts = [caught.sum(), caught.sum(), caught @ self._money[self._caught]]
        wholes = [alerts, frauds.sum(), frauds @ self._money[self._frauds]]
        with np.errstate(invalid="ignore"):  # a share of nothing is NaN
            return np.append(self._ranked(count)[1], np.divide(parts, wholes))


def _metrics(
    sides: Mapping[str, _Side], weight: NDArray[np.float64], group: NDArray[np.int64], looks: int
) -> dict[str, Any]:
    """By name: each side's value, the difference, and its interval, of which all planned looks together hold 95 %.

    One that is a share of nothing is left out.
    """
    seen = {side: it(weight) for side, it in sides.items()}
    numbers = np.unique(group, return_inverse=True)[1]
    draws = drawn(numbers, max(_RESAMPLES, _OF_A_LOOK * looks), 0)
    differences = np.array([sides["challenger"](count * weight) - sides["champion"](count * weight) for count in draws])
    half = ERROR / looks / 2
    found = {}
    for i, name in enumerate(METRICS):
        if np.isfinite([each[i] for each in seen.values()]).all():
            low, high = np.nanquantile(differences[:, i], [half, 1 - half])
            found[name] = {
                **{side: float(seen[side][i]) for side in SIDES},
                "difference": float(seen["challenger"][i] - seen["champion"][i]),
                "low": float(low),
                "high": float(high),
            }
    return found


def _decision(report: Mapping[str, Any], question: Question) -> dict[str, Any]:
    name = question.metric.replace("_", " ")
    rule = (
        f"Promote where the whole interval of the difference in {name}, challenger less champion, lies above 0; keep "
        f"the champion where it lies below; else go on. {question.looks} looks at labels are planned in all, and each "
        f"interval holds at {1 - ERROR / question.looks:.2%}: over all of them a challenger that is no better is "
        f"promoted in at most {ERROR / 2:.1%} (Bonferroni). Whoever looks more often has to plan for it with looks=."
    )
    labels = report["labels"]
    found = None if labels is None else labels["metrics"].get(question.metric)
    if found is None:
        if labels is None:
            why = "labels were not looked at"
        elif not labels["metrics"]:
            why = "no final labels of frauds and genuine transactions yet"
        else:
            why = {
                "precision": "one side has no alert with a final label yet",
                "value_recall": "no fraud with a final label has an amount above 0",
            }[question.metric]
        return {"rule": rule, "verdict": "go on", "why": why}
    verdict = "promote" if found["low"] > 0 else "keep the champion" if found["high"] < 0 else "go on"
    why = f"{name} differs by {found['difference']:+.4f} ({found['low']:+.4f} to {found['high']:+.4f})"
    return {"rule": rule, "verdict": verdict, "why": f"{why}, {labels['frauds']:,} frauds"}


def _exchanged(frame: pl.DataFrame, parts: Mapping[str, _Flags]) -> pl.DataFrame:
    said = [np.where(part, name, "") for name, part in parts.items()]
    alert = pl.Series("alert", np.char.add(np.char.add(said[0], said[1]), said[2]).tolist(), pl.String)
    columns = ["request_id", "position", "transaction_id", "scored_at", "score", "challenger_score", "amount"]
    return frame.with_columns(alert).filter(pl.col("alert") != "").select("alert", *columns).sort("alert", "scored_at")


def summary(report: Mapping[str, Any]) -> str:
    """The report as plain text."""
    lines = [
        f"champion {report['champion']}, challenger {report['challenger']}: {report['transactions']:,} transactions "
        f"since {report['since'][:16]}, {report['budget_per_1000']:g} alerts per 1,000 of either",
        "",
        f"{'alerts of':17}{'count':>8}{'amount':>14}{'frauds':>8}{'of':>8}",
    ]
    for name, it in report["swap"].items():
        amount = "-" if it["amount"] is None else f"{it['amount']:,.0f}"
        lines.append(
            f"{name.replace('_', ' '):17}{it['count']:8,.0f}{amount:>14}{it['frauds']:8,.0f}{it['labelled']:8,.0f}"
        )
    lines.append("")
    for name, it in (report["labels"] or {"metrics": {}})["metrics"].items():
        values = f"{it['champion']:9.4f}{it['challenger']:9.4f}{it['difference']:+10.4f}"
        lines.append(f"{name:17}{values}  ({it['low']:+.4f} to {it['high']:+.4f})")
    decision = report["decision"]
    return "\n".join([*lines, *notes(report), f"{decision['verdict']}: {decision['why']}"])


def notes(report: Mapping[str, Any]) -> Iterator[str]:
    """What was left out, or counts otherwise than one may think, a sentence each."""
    if report["by_money"]:
        yield (
            "the champion decides by money, and alerts are compared by score alone, the highest within the budget: "
            "which alerts its levels make, the record's risk_level tells"
        )
    if report["unscored"]:
        yield f"{report['unscored']:,} transactions since then have no score of a challenger, and do not count"
    if report["of_other_bundles"]:
        yield f"{report['of_other_bundles']:,} transactions since then were answered by other bundles, and do not count"
    if report["of_other_challengers"]:
        yield f"{report['of_other_challengers']:,} transactions were scored by other challengers, and do not count"
    for side, it in report["alerts"].items():
        if it["in_a_tie"] >= 0.5:
            yield (
                f"the budget of the {side} pays for {it['in_a_tie']:,.0f} more alerts among transactions of one score, "
                "which are more than that: the swap lacks them, and metrics count each of these transactions in part"
            )
    if count := report["transactions_without_amount"]:
        yield f"{count:,} transactions have no amount of 0 or more and count as 0 in money"
