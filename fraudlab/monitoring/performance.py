"""How well a server's alerts were: by week and bundle, before its labels are there and after.

Weeks begin on Monday (UTC). A transaction's label is final ``mature_days`` after it: fraud where it was told by then
and not taken back, else genuine, as training counts it. A week all of whose labels are final has metrics; a younger one
has estimates, see :mod:`fraudlab.metrics.nowcast`. Each estimate is kept in the record, and held against what came.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraudlab.bundle import Bundle
from fraudlab.errors import UserError
from fraudlab.metrics.bootstrap import Resampled
from fraudlab.metrics.calibration import log_odds
from fraudlab.metrics.density_ratio import density_ratio
from fraudlab.metrics.label_delays import KnownRows
from fraudlab.metrics.metrics import compute_metrics
from fraudlab.metrics.nowcast import LEVEL, WEEKS_NEEDED, as_dict, estimate, learn, metrics_of
from fraudlab.monitoring import kept, labels, records
from fraudlab.monitoring.rows import Recorded

_MONDAY = datetime(1970, 1, 5)
_DAY = timedelta(days=1)
_RESAMPLES = 200
_BLOCK = 16_384
_CLOCKS: dict[str, tuple[str, labels.Clock]] = {
    "received": ("scored_at", "told_at"),
    "transaction": ("transaction_time", "event_time"),
}


@dataclass(frozen=True)
class Question:
    """What is asked of a record.

    Attributes:
        moment: as of when; nothing later is looked at.
        mature_days: until a label is final.
        clock: ``received``: by when transactions were scored and labels came; ``transaction``: by the times that
            transactions and labels say, for a record of transactions that were replayed.
        amount: field of the input with the amount; None where there is none.
        admin_cost: of one alert, in the currency of the amount.
        recovery_share: of a fraud's amount, what an alert saves.
        bundle: by whose inputs transactions whose labels are final are weighed as today's are; None: all alike.
    """

    moment: datetime
    mature_days: int
    clock: str
    amount: str | None
    admin_cost: float
    recovery_share: float = 1.0
    bundle: Bundle | None = None


def performance(folder: Path, question: Question) -> dict[str, Any]:
    """The report, plain data: ``weeks``, a row a week and bundle, and how past estimates did (``past_estimates``).

    Raises:
        UserError: the folder is no record, or has no transaction before the moment.
    """
    frame, counts = known(folder, question)
    if frame.is_empty():
        raise UserError(f"{folder} has no transaction before {question.moment:%Y-%m-%d %H:%M}; give a later as_of")
    rows = rows_of(frame, question.amount)
    weeks: list[dict[str, Any]] = []
    for version in frame["bundle_version"].unique(maintain_order=True).to_list():
        own = (frame["bundle_version"] == version).to_numpy()
        weeks += _weeks(version, rows.where(own), _inputs(frame.filter(own), version, question), question)
    weeks.sort(key=lambda each: (each["week"], each["bundle_version"]))
    report = {
        "as_of": question.moment.isoformat(),
        "clock": question.clock,
        "mature_days": question.mature_days,
        "admin_cost": question.admin_cost,
        "recovery_share": question.recovery_share,
        "level": LEVEL,
        "transactions": len(frame),
        **counts,
        "weeks": weeks,
    }
    return {**report, "past_estimates": _held(folder, report)}


def known(folder: Path, question: Question, *further: pl.Expr) -> tuple[pl.DataFrame, dict[str, int]]:
    """Transactions before the moment with what had been told of each by then, and what was left out.

    Args:
        folder: of the record.
        question: what is asked of it.
        further: columns to have beside those that :func:`rows_of` takes.
    """
    time, clock = _CLOCKS[question.clock]
    names = ["request_id", "position", "transaction_id", "bundle_version", "score", "sample_weight"]
    alerted = pl.col("risk_level") == "high"
    at = pl.col(time).dt.replace_time_zone(None)
    moment = question.moment.astimezone(UTC).replace(tzinfo=None)
    inputs = [] if question.bundle is None else ["input"]  # which are many

    def read() -> pl.DataFrame:
        scanned = records.scan(folder)
        fields = scanned.collect_schema()["input"]
        assert isinstance(fields, pl.Struct)
        names_of = [field.name for field in fields.fields]
        if question.amount is not None and names_of and question.amount not in names_of:
            raise UserError(
                f"the record's transactions have no field {question.amount}; give the bundle that scored them"
            )
        amount = pl.lit(None)
        if question.amount in names_of:  # a record without a transaction has no fields
            amount = pl.col("input").struct.field(question.amount)
        numbers = amount.cast(pl.Float64, strict=False)
        return scanned.select(*names, *further, *inputs, at=at, alerted=alerted, amount=numbers).collect()

    found = records.settled(folder, read)
    if found["at"].null_count():
        raise UserError(f"{found['at'].null_count():,} transactions of {folder} have no time; take clock=received")
    frame = found.filter(pl.col("at") < moment)
    said = labels.told(folder).with_columns(event_time=pl.coalesce("event_time", "told_at"))
    by_id = pl.col("transaction_id").is_not_null()
    said = said.filter((pl.col("event_time") <= question.moment) & (pl.col(clock) <= question.moment)).with_columns(
        *(pl.when(by_id).then(None).otherwise(pl.col(name)).alias(name) for name in ("request_id", "position")),
        said_at=pl.col(clock).dt.replace_time_zone(None),
    )
    fraud = pl.col("fraud").fill_null(False)
    words = (
        said.sort("event_time", "fraud", "told_at", nulls_last=False)
        .group_by("transaction_id", "request_id", "position", maintain_order=True)
        .agg(
            told=pl.col("said_at").filter(fraud).first(),
            revoked=pl.when(fraud.last()).then(None).otherwise(pl.col("said_at").last()),
        )
    )
    place = ["request_id", "position"]
    # A request id that the client gave twice names several transactions: which is meant, nobody knows.
    alone = frame.filter(~pl.struct(place).is_duplicated()).select(*place, "at")
    of_place = words.filter(~by_id).drop("transaction_id").join(alone, on=place).drop("at")
    of_id = words.filter(by_id).drop(place)
    joined = frame.join(of_id, on="transaction_id", how="left", maintain_order="left")
    joined = joined.join(of_place, on=place, how="left", maintain_order="left", suffix="_there")
    day = pl.duration(days=1)
    joined = joined.with_columns(
        age=(moment - pl.col("at")) / day,
        told=(pl.coalesce("told", "told_there") - pl.col("at")) / day,
        revoked=(pl.coalesce("revoked", "revoked_there") - pl.col("at")) / day,
        week=((pl.col("at") - _MONDAY) / (7 * day)).floor().cast(pl.Int64),
    )
    met = words.filter(by_id).join(frame, on="transaction_id", how="semi").height + of_place.height
    counts = {
        "labels_of_no_transaction": len(words) - met,
        "frauds_told_after_maturity": joined.filter(pl.col("told") > question.mature_days).height,
        "transactions_without_amount": 0
        if question.amount is None
        else joined.filter(~(pl.col("amount") >= 0).fill_null(False)).height,
    }
    return joined, counts


def rows_of(frame: pl.DataFrame, amount: str | None) -> KnownRows:
    """The rows of :func:`known`, as metrics take them."""

    def numbers(name: str) -> NDArray[np.float64]:
        return frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy().copy()

    money = numbers("amount")
    money[~(money >= 0)] = 0.0
    score = numbers("score")
    return KnownRows(
        frame["week"].to_numpy(),
        score,
        numbers("age"),
        np.maximum(numbers("told"), 0.0),
        numbers("revoked"),
        frame["alerted"].fill_null(value=False).to_numpy(),
        numbers("sample_weight"),
        None if amount is None else money,
    )


def _inputs(frame: pl.DataFrame, version: str, question: Question) -> NDArray[np.float32] | None:
    """What tells weeks apart: the log-odds of the score and the numbers that the network had, ``[N, D]``."""
    if question.bundle is None or question.bundle.version != version:
        return None
    reader = Recorded(question.bundle)
    parts = [reader.encoded(frame["input"].slice(at, _BLOCK)).numeric for at in range(0, len(frame), _BLOCK)]
    odds = log_odds(frame["score"].to_numpy()).astype(np.float32)
    return np.column_stack([odds, np.concatenate(parts)])


def _weights(rows: KnownRows, inputs: NDArray[np.float32], number: int, horizon: int) -> NDArray[np.float64]:
    """How much a row counts in the curve of that week: as much more as such rows are now, as few as they then are."""
    mature = rows.age >= horizon
    ratio = density_ratio(inputs[mature], inputs[rows.week == number])
    found = np.ones(len(inputs))
    found[mature] = ratio * (ratio.sum() / (ratio**2).sum())
    return found


def _weeks(
    version: str, rows: KnownRows, inputs: NDArray[np.float32] | None, question: Question
) -> Iterator[dict[str, Any]]:
    horizon = question.mature_days

    def weights(number: int) -> NDArray[np.float64] | None:
        return None if inputs is None or not (rows.age >= horizon).any() else _weights(rows, inputs, number, horizon)

    for number in np.unique(rows.week).tolist():
        week = rows.where(rows.week == number)
        fraud = week.final_fraud(horizon)
        mature = bool((week.age >= horizon).all())
        found: dict[str, Any] = {
            "week": (_MONDAY + 7 * number * _DAY).date().isoformat(),
            "bundle_version": version,
            "rows": float(week.weight.sum()),
            "alerts": float((week.weight * week.alerted).sum()),
            "frauds_told": float((week.weight * fraud).sum()),
            "mature": mature,
            "realised": None,
            "estimated": None,
            "told_share": None,
        }
        if mature:
            found["realised"] = _realised(week, fraud, question.admin_cost, question.recovery_share)
            found["told_share"] = {"value": 1.0, "low": 1.0, "high": 1.0}
        elif (past := learn(rows, horizon, weights(number))) is None:
            found["why_not"] = (
                f"estimates rest on {WEEKS_NEEDED} weeks or more whose labels are final, with frauds and genuine "
                f"transactions in each, scored by bundle {version}"
            )
        else:
            estimated = estimate(past, week, question.admin_cost, number, question.recovery_share)
            found["estimated"] = as_dict(estimated)
            told, frauds = found["frauds_told"], estimated["frauds"]
            shares = (told / max(each, told, 1e-9) for each in (frauds.value, frauds.high, frauds.low))
            found["told_share"] = dict(zip(("value", "low", "high"), shares, strict=True))
        yield found


def _realised(
    week: KnownRows, fraud: NDArray[np.bool_], admin_cost: float, recovery_share: float
) -> dict[str, dict[str, float | None]]:
    """Metrics of a week whose labels are final: those of its alerts, and those that ``metrics.json`` of a run has.

    Average precision and AUC ROC have intervals, of rows drawn again.
    """
    alerts = metrics_of(week, fraud, admin_cost, recovery_share)
    whole = compute_metrics(fraud, week.score, amount=week.amount, admin_cost=admin_cost, recovery_share=recovery_share)
    found: dict[str, dict[str, float | None]] = {
        name: {"value": None if isinstance(value, float) and np.isnan(value) else value}
        for name, value in {**alerts, **whole}.items()
    }
    if 0 < fraud.sum() < len(fraud):
        resampled, chance = Resampled(fraud, week.score), np.random.default_rng(0)
        counts = (
            np.bincount(chance.integers(0, len(fraud), len(fraud)), minlength=len(fraud)) for _ in range(_RESAMPLES)
        )
        drawn = np.array([resampled(count) for count in counts])
        edges = np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        for name, (low, high) in zip(("roc_auc", "average_precision"), edges.T.tolist(), strict=True):
            found[name] |= {"low": low, "high": high}
    return found


def _held(folder: Path, report: Mapping[str, Any]) -> dict[str, Any]:
    """How many of the kept intervals, of weeks that are final now, hold the value that came; by metric."""
    came = {(each["week"], each["bundle_version"]): each["realised"] for each in report["weeks"] if each["mature"]}
    asked = ("clock", "mature_days", "admin_cost", "recovery_share")
    found: dict[str, list[bool]] = {}
    for past in kept.reports(folder):
        past = {"recovery_share": 1.0, **past}  # what earlier versions counted with
        if any(past[name] != report[name] for name in asked) or past["as_of"] >= report["as_of"]:
            continue
        for week in past["weeks"]:
            if not week["estimated"]:
                continue
            realised = came.get((week["week"], week["bundle_version"]))
            for name, interval in week["estimated"].items():
                value = realised[name]["value"] if realised else None
                if value is not None and interval["low"] is not None:
                    found.setdefault(name, []).append(interval["low"] <= value <= interval["high"])
    return {name: {"estimates": len(each), "held": float(np.mean(each))} for name, each in sorted(found.items())}


def summary(report: Mapping[str, Any]) -> str:
    """The report as plain text, a line a week and bundle."""
    head = f"{'week':11}{'bundle':14}{'rows':>10}{'alerts':>8}{'frauds':>18}{'told':>6}"
    lines = [f"{head}   {'average precision':27}{'precision':27}{'recall':24}", "-" * 145]
    for week in report["weeks"]:
        found = week["realised"] or week["estimated"] or {}
        share = week["told_share"]
        cells = f"{week['week']:11}{week['bundle_version'][:12]:14}{week['rows']:10,.0f}{week['alerts']:8,.0f}"
        cells += f"{_said(found.get('frauds'), '.0f', mature=week['mature']):>18}"
        cells += f"{'' if share is None else format(share['value'], '.0%'):>6}   "
        names = ("average_precision", "precision", "recall")
        cells += "".join(f"{_said(found.get(name), '.3f', mature=week['mature']):24}" for name in names)
        lines.append(cells.rstrip())
    lines += ["", "≈: estimated, with the interval that is to hold the later value in 90 %"]
    lines += [
        f"{each['week']}, {each['bundle_version']}: {each['why_not']}"
        for each in report["weeks"][-1:]
        if "why_not" in each
    ]
    lines += notes(report)
    for name, each in report["past_estimates"].items():
        lines.append(f"past estimates of {name}: {each['held']:.0%} of {each['estimates']} held what came")
    return "\n".join(lines)


def notes(report: Mapping[str, Any]) -> list[str]:
    """What was left out, or counts otherwise than one may think, a sentence each."""
    said = {
        "labels_of_no_transaction": "transactions with labels are not in the record, or share the id that names them",
        "transactions_without_amount": "transactions have no amount of 0 or more and count as 0 in money",
        "frauds_told_after_maturity": f"frauds were told later than {report['mature_days']} days and count as genuine; "
        "raise mature_days to count them",
    }
    return [f"{report[name]:,} {words}" for name, words in said.items() if report[name]]


def _said(it: Mapping[str, Any] | None, form: str, *, mature: bool) -> str:
    if it is None or it["value"] is None:
        return "-"
    if mature:
        return format(it["value"], form)
    return f"≈ {it['value']:{form}} ({it['low']:{form}} to {it['high']:{form}})"
