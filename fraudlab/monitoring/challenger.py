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
from fraudlab.metrics.operating_points import threshold_for_budget
from fraudlab.metrics.ranking import Ranking
from fraudlab.monitoring import performance, records

SIDES = ("champion", "challenger")
SWAP = ("champion_only", "both", "challenger_only")
ERROR = 0.05
"""By chance a challenger that is no better is promoted in half of this, over all planned looks."""
_RESAMPLES = 2000
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
    wanted = [pl.col(f"challenger_{name}") for name in ("version", "score", "risk_level", "reasons")]
    wanted += [pl.col("risk_level"), pl.col("reasons"), pl.col("scored_at"), _card(folder, card)]
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
    unscored = own.filter(pl.col("challenger_version").is_null() & (pl.col("scored_at") >= since)).height
    scores = {"champion": both["score"].to_numpy(), "challenger": both["challenger_score"].to_numpy()}
    none = np.zeros(len(both), np.int8)
    limits = {side: threshold_for_budget(Ranking(none, score), question.budget) for side, score in scores.items()}
    alerts = {side: scores[side] >= limits[side] for side in SIDES}
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
        "transactions_without_amount": counts["transactions_without_amount"],
        "budget_per_1000": question.budget,
        "mature_days": horizon,
        "alerts": {
            side: {
                "threshold": limits[side],
                "count": int(alerts[side].sum()),
                "served_per_1000": _served(both[name]),
            }
            for side, name in zip(SIDES, ("risk_level", "challenger_risk_level"), strict=True)
        },
        "swap": {
            name: {
                "count": int(part.sum()),
                "amount": None if rows.amount is None else float(money[part].sum()),
                "labelled": int((part & mature).sum()),
                "frauds": int((part & fraud).sum()),
                "fraud_amount": None if rows.amount is None else float(money[part & fraud].sum()),
                "reasons": _reasons(both.filter(part), name),
            }
            for name, part in parts.items()
        },
        "labels": None,
    }
    if horizon is not None:
        group = _groups(both["card"])
        of_mature = {side: score[mature] for side, score in scores.items()}
        known_alerts = {side: flags[mature] for side, flags in alerts.items()}
        metrics = _metrics(of_mature, known_alerts, fraud[mature], money[mature], group[mature], question.looks)
        report["labels"] = {"rows": int(mature.sum()), "frauds": int(fraud.sum()), "metrics": metrics}
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


class _Side:
    """Metrics of a side, by the order of ``METRICS``, where row i is there ``count[i]`` times."""

    def __init__(self, score: NDArray[np.float64], alerted: _Flags, fraud: _Flags, money: NDArray[np.float64]) -> None:
        self._ranked = Resampled(fraud, score)
        self._alerts, self._frauds = np.flatnonzero(alerted), np.flatnonzero(fraud)
        self._caught = np.flatnonzero(alerted & fraud)
        self._money = money

    def __call__(self, count: NDArray[Any]) -> NDArray[np.float64]:
        caught, frauds = count[self._caught], count[self._frauds]
        parts = [caught.sum(), caught.sum(), caught @ self._money[self._caught]]
        wholes = [count[self._alerts].sum(), frauds.sum(), frauds @ self._money[self._frauds]]
        with np.errstate(invalid="ignore"):  # a share of nothing is NaN
            return np.append(self._ranked(count)[1], np.divide(parts, wholes))


def _metrics(
    scores: Mapping[str, NDArray[np.float64]],
    alerts: Mapping[str, _Flags],
    fraud: _Flags,
    money: NDArray[np.float64],
    group: NDArray[np.int64],
    looks: int,
) -> dict[str, Any]:
    """By name: each side's value, the difference, and its interval, of which all planned looks together hold 95 %."""
    if not 0 < fraud.sum() < len(fraud):
        return {}
    sides = {side: _Side(scores[side], alerts[side], fraud, money) for side in SIDES}
    seen = {side: it(np.ones(len(fraud), np.int64)) for side, it in sides.items()}
    numbers = np.unique(group, return_inverse=True)[1]
    differences = [sides["challenger"](count) - sides["champion"](count) for count in drawn(numbers, _RESAMPLES, 0)]
    half = ERROR / looks / 2
    low, high = np.nanquantile(differences, [half, 1 - half], axis=0)
    found = {
        name: {
            **{side: float(seen[side][i]) for side in SIDES},
            "difference": float(seen["challenger"][i] - seen["champion"][i]),
            "low": float(low[i]),
            "high": float(high[i]),
        }
        for i, name in enumerate(METRICS)
    }
    return {name: it for name, it in found.items() if np.isfinite(list(it.values())).all()}


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
        why = "no final labels of frauds and genuine transactions yet" if labels else "labels were not looked at"
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
        lines.append(f"{name.replace('_', ' '):17}{it['count']:8,}{amount:>14}{it['frauds']:8,}{it['labelled']:8,}")
    lines.append("")
    for name, it in (report["labels"] or {"metrics": {}})["metrics"].items():
        values = f"{it['champion']:9.4f}{it['challenger']:9.4f}{it['difference']:+10.4f}"
        lines.append(f"{name:17}{values}  ({it['low']:+.4f} to {it['high']:+.4f})")
    decision = report["decision"]
    return "\n".join([*lines, *notes(report), f"{decision['verdict']}: {decision['why']}"])


def notes(report: Mapping[str, Any]) -> Iterator[str]:
    """What was left out, a sentence each."""
    if report["unscored"]:
        yield f"{report['unscored']:,} transactions since then have no score of a challenger, and do not count"
    if count := report["transactions_without_amount"]:
        yield f"{count:,} transactions have no amount of 0 or more and count as 0 in money"
