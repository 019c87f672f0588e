"""Random tables for the history features, and what their aggregates are, one row at a time in plain Python."""

import itertools
import math
import statistics
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from fraudlab.features.history import HistoryFeatures
from fraudlab.features.live import Earlier
from fraudlab.schema import Column, TableSchema

START = datetime(2024, 1, 1)
WINDOWS = {"6h": timedelta(hours=6), "7d": timedelta(days=7), "all": timedelta(days=10**5)}
GAPS = ("gap_mean", "gap_std", "gap_min", "gap_max")
OF: dict[str, Any] = {
    "count": ["count", {"aggregate": "decayed", "windows": ["6h", "7d"]}, {"over": "7d"}],
    "amount": [
        *("sum", "mean", "std", "min", "median", "max", "last", "last_2", "last_3", "q25", "q90"),
        *("ratio_to_mean", "ratio_to_median", "genuine_mean", "ratio_to_genuine_mean"),
        *({"aggregate": what, "own": True, "name": f"{what}_own", "empty": -1} for what in ("mean", "std", "median")),
        {"aggregate": "decayed", "windows": ["6h", "7d"]},
        {"aggregate": "mean", "windows": ["7d"], "over": "all"},
        *({"aggregate": what, "longitude": "shop"} for what in ("distance", "speed")),
        {"aggregate": "last", "over": "amount_mean_own_7d", "own": False, "empty": -1, "as": "{key}_spike"},
    ],
    "time": ["since_last", "since_first", "hour", "weekday", "weekend", "night", *GAPS],
    "country": ["nunique", "is_new", "share", "entropy"],
    "label": [
        *("rate", "count", "known", "since_first", "since_last", "run_length", "run_age", "run_ended"),
        *("open_run_length", "open_run_age"),
    ],
}
LIMITED: dict[str, Any] = {
    **OF,
    "count": [
        *({"where": "amount > 40"}, {"where": "amount > 40", "own": True, "name": "own"}),
        {"aggregate": "decayed", "windows": ["7d"], "own": True, "name": "decayed_own"},
    ],
    "time": [*OF["time"], *({"aggregate": gap, "own": True, "name": f"{gap}_own"} for gap in GAPS)],
    "label": [*OF["label"], {"aggregate": "rate", "where": "amount < 50", "windows": ["7d"], "keys": ["card"]}],
}


def schema(label_time: bool) -> TableSchema:
    columns = [
        Column("row", "integer", "id"),
        Column("when", "datetime", "time"),
        Column("card_id", "string", "card", nullable=True),
        Column("shop", "integer", "terminal"),
        Column("amount", "number", "amount", nullable=True),
        Column("country", "string", "categorical", nullable=True),
        Column("fraud", "integer", "label"),
    ]
    return TableSchema("t", (*columns, Column("told", "datetime", "label_time")) if label_time else tuple(columns))


def made(of: dict[str, Any], delay_days: int, label_time: bool) -> HistoryFeatures:
    settings = {
        "keys": {"card": ["card_id"], "pair": ["card_id", "shop"]},
        "windows": list(WINDOWS),
        "of": of,
        "decimals": 2,
        "prior": 5.0,
        "delay_days": delay_days,
    }
    return HistoryFeatures(settings, schema(label_time))


def table(rows: int, seed: int, days: int = 12) -> pl.DataFrame:
    """Few keys and few instants, so that windows fill and rows tie; values are missing here and there."""
    draw = np.random.default_rng(seed)
    hour = np.sort(draw.integers(0, days * 4, rows)) * 6
    told = hour + np.where(draw.random(rows) < 0.3, 0, draw.integers(-2, 40, rows) * 6)
    amount = np.round(draw.gamma(2.0, 30.0, rows), 2)
    gone = draw.random((4, rows)) < 0.1
    return pl.DataFrame(
        {
            "row": np.arange(rows),
            "when": [START + timedelta(hours=int(h)) for h in hour],
            "card_id": [None if g else f"c{c}" for c, g in zip(draw.integers(0, 3, rows), gone[0], strict=True)],
            "shop": draw.integers(0, 2, rows),
            "amount": [None if g else float(a) for a, g in zip(amount, gone[1], strict=True)],
            "country": [None if g else f"k{c}" for c, g in zip(draw.integers(0, 4, rows), gone[2], strict=True)],
            "fraud": (draw.random(rows) < 0.4).astype(np.int8),
            "told": [None if g else START + timedelta(hours=int(h)) for h, g in zip(told, gone[3], strict=True)],
        },
        schema_overrides={"told": pl.Datetime("us"), "card_id": pl.String, "country": pl.String, "amount": pl.Float64},
    )


def known_at(row: dict[str, Any], delay_days: int, label_time: bool) -> datetime:
    late: datetime = row["when"] + timedelta(days=delay_days)
    return max(row["told"], row["when"]) if label_time and row["told"] is not None else late


def from_its_past(features: HistoryFeatures, frame: pl.DataFrame, present: int, label_time: bool) -> dict[str, Any]:
    """The row's features by ``of_past``, which gets the rows before it of each of its keys."""
    rows = frame.to_dicts()
    delay = features.definition.delay // 86_400_000_000
    events = [features.event(row) for row in rows]
    us = [(known_at(row, delay, label_time) - datetime(1970, 1, 1)) // timedelta(microseconds=1) for row in rows]

    def past(key: int) -> Earlier:
        own = (i for i in range(present) if events[i].keys[key] == events[present].keys[key])
        kept = [(events[i].time, us[i], rows[i]["fraud"], *events[i].numbers, *events[i].categories) for i in own]
        return Earlier.of_rows(kept, len(events[present].numbers), len(events[present].categories))

    day = events[present].time // 86_400_000_000 * 86_400_000_000
    known = [rows[i]["fraud"] for i in range(len(rows)) if us[i] < day]
    return features.of_past(events[present], past, (len(known), sum(known)))


def by_hand(frame: pl.DataFrame, present: int, delay: int, label_time: bool, limited: bool) -> dict[str, Any]:
    """The definitions; the names are those of :data:`OF` or :data:`LIMITED`."""
    rows = frame.to_dicts()
    for row in rows:
        row["known"] = known_at(row, delay, label_time)
    me = rows[present]
    now = me["when"]
    found = {"time_hour": now.hour, "time_weekday": now.weekday(), "time_night": float(now.hour <= 6)}
    found["time_weekend"] = float(now.weekday() >= 5)
    today = [row["fraud"] for row in rows if row["known"] < datetime(now.year, now.month, now.day)]
    prior = statistics.fmean(today) if today else 0.0

    def rate(labels: list[dict[str, Any]]) -> float:
        return (sum(row["fraud"] for row in labels) + 5 * prior) / (len(labels) + 5)

    def days(row: dict[str, Any]) -> float:
        return float((now - row["when"]) / timedelta(days=1))

    for key, columns in {"card": ["card_id"], "pair": ["card_id", "shop"]}.items():
        names = [name for name in _names(limited) if name.startswith(key)]
        if any(me[column] is None for column in columns):
            found |= dict.fromkeys(names)
            continue
        own = [row for row in rows[:present] if all(row[column] == me[column] for column in columns)]
        told = sorted((row for row in own if row["known"] <= now), key=lambda row: row["known"])
        frauds = [row for row in told if row["fraud"]]
        run, ended = _run(told)
        same = [row for row in own if row["country"] == me["country"]]
        amounts = [row["amount"] for row in own]
        found |= {
            f"{key}_amount_last": amounts[-1] if own else None,
            f"{key}_amount_distance": (km := _distance(me, own[-1]) if own else None),
            f"{key}_amount_speed": km / days(own[-1]) / 24 if km is not None and days(own[-1]) else None,
            f"{key}_amount_last_2": amounts[-2] if len(own) > 1 else None,
            f"{key}_amount_last_3": amounts[-3] if len(own) > 2 else None,
            f"{key}_time_since_last": days(own[-1]) if own else None,
            f"{key}_time_since_first": days(own[0]) if own else None,
            f"{key}_country_is_new": None if me["country"] is None else float(not same),
            f"{key}_label_since_first": days(frauds[0]) if frauds else None,
            f"{key}_label_since_last": days(frauds[-1]) if frauds else None,
            f"{key}_label_run_length": len(run) or None,
            f"{key}_label_run_age": days(run[0]) if run else None,
            f"{key}_label_run_ended": float(ended) if run else None,
            f"{key}_label_open_run_length": len(run) if run and not ended else None,
            f"{key}_label_open_run_age": days(run[0]) if run and not ended else None,
        }
        for window, length in WINDOWS.items():
            inside = [row for row in own if row["when"] > now - length]
            labels = [row for row in told if row["known"] > now - length]
            a = [row["amount"] for row in inside if row["amount"] is not None]
            genuine = [row["amount"] for row in labels if row["amount"] is not None and not row["fraud"]]
            mean, median = (statistics.fmean(a), statistics.median(a)) if a else (None, None)
            own_too = [*a, me["amount"]] if me["amount"] is not None else a
            fair = statistics.fmean(genuine) if genuine else None
            alike = [row for row in inside if row["country"] == me["country"]]
            found |= {
                f"{key}_amount_sum_{window}": sum(a),
                f"{key}_amount_mean_{window}": mean,
                f"{key}_amount_std_{window}": statistics.stdev(a) if len(a) > 1 else None,
                f"{key}_amount_min_{window}": min(a, default=None),
                f"{key}_amount_median_{window}": median,
                f"{key}_amount_max_{window}": max(a, default=None),
                f"{key}_amount_ratio_to_mean_{window}": _ratio(me["amount"], mean),
                f"{key}_amount_ratio_to_median_{window}": _ratio(me["amount"], median),
                f"{key}_amount_mean_own_{window}": statistics.fmean(own_too) if own_too else -1,
                f"{key}_amount_median_own_{window}": statistics.median(own_too) if own_too else -1,
                f"{key}_amount_std_own_{window}": statistics.stdev(own_too) if len(own_too) > 1 else -1,
                f"{key}_amount_genuine_mean_{window}": fair,
                f"{key}_amount_ratio_to_genuine_mean_{window}": _ratio(me["amount"], fair),
                f"{key}_country_nunique_{window}": len({row["country"] for row in inside} - {None}),
                f"{key}_country_share_{window}": len(alike) / len(inside) if inside and me["country"] else None,
                f"{key}_label_rate_{window}": rate(labels),
                f"{key}_label_count_{window}": sum(row["fraud"] for row in labels),
                f"{key}_label_known_{window}": len(labels),
                f"{key}_amount_q25_{window}": float(np.quantile(a, 0.25)) if a else None,
                f"{key}_amount_q90_{window}": float(np.quantile(a, 0.9)) if a else None,
                f"{key}_country_entropy_{window}": _entropy([row["country"] for row in inside]),
                **_gaps(f"{key}_time_{{}}_{window}", [days(row) for row in inside]),
            }
            if window == "7d":
                every = [amount for amount in amounts if amount is not None]
                found[f"{key}_amount_mean_7d_over_all"] = _ratio(mean, statistics.fmean(every) if every else None)
                spike = _ratio(found[f"{key}_amount_last"], found[f"{key}_amount_mean_own_7d"])
                found[f"{key}_spike"] = -1 if spike is None else spike
                if not limited:
                    short = sum(row["when"] > now - WINDOWS["6h"] for row in own)
                    found[f"{key}_count_6h_over_7d"] = _ratio(short / 6, len(inside) / (7 * 24))
            if window != "all":
                seen = [row for row in own if row["when"] > now - 16 * length]
                weights = [(row, 0.5 ** ((now - row["when"]) / length)) for row in seen]
                sums = [row["amount"] * weight for row, weight in weights if row["amount"] is not None]
                found[f"{key}_amount_decayed_{window}"] = sum(sums)
                if not limited:
                    found[f"{key}_decayed_{window}"] = sum(weight for _, weight in weights)
                elif window == "7d":
                    found[f"{key}_decayed_own_{window}"] = 1 + sum(weight for _, weight in weights)
            if limited:
                found[f"{key}_count_where_{window}"] = sum(value > 40 for value in a)
                found |= _gaps(f"{key}_time_{{}}_own_{window}", [*(days(row) for row in inside), 0.0])
                found[f"{key}_own_{window}"] = sum(value > 40 for value in own_too)
                if (key, window) == ("card", "7d"):
                    small = [row for row in labels if row["amount"] is not None and row["amount"] < 50]
                    found["card_label_rate_where_7d"] = rate(small)
            else:
                found[f"{key}_count_{window}"] = len(inside)
    return found


def _distance(a: dict[str, Any], b: dict[str, Any]) -> float | None:
    """With amounts for latitudes and shops for longitudes: the angle between two vectors, by chord."""
    if a["amount"] is None or b["amount"] is None or max(a["amount"], b["amount"]) > 90:
        return None
    points = [(math.radians(row["amount"]), math.radians(row["shop"])) for row in (a, b)]
    one, other = ((math.cos(n) * math.cos(e), math.cos(n) * math.sin(e), math.sin(n)) for n, e in points)
    return 6371.0088 * 2 * math.asin(min(1.0, math.dist(one, other) / 2))


def _entropy(values: list[str | None]) -> float | None:
    counts = Counter(value for value in values if value is not None)
    shares = [count / counts.total() for count in counts.values()]
    return -sum(share * math.log(share) for share in shares) if shares else None


def _gaps(name: str, ages: list[float]) -> dict[str, float | None]:
    gaps = [earlier - later for earlier, later in itertools.pairwise(ages)]
    mean, std = statistics.fmean(gaps) if gaps else None, statistics.stdev(gaps) if len(gaps) > 1 else None
    values = (mean, std, min(gaps, default=None), max(gaps, default=None))
    return {name.format(what): value for what, value in zip(GAPS, values, strict=True)}


def _run(told: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], bool]:
    """The last stretch of frauds, and whether a genuine row came after it."""
    last = max((i for i, row in enumerate(told) if row["fraud"]), default=-1)
    first = last
    while first > 0 and told[first - 1]["fraud"]:
        first -= 1
    return told[first : last + 1] if last >= 0 else [], last < len(told) - 1


def _ratio(amount: float | None, mean: float | None) -> float | None:
    return None if amount is None or not mean else amount / mean


def _names(limited: bool) -> tuple[str, ...]:
    return made(LIMITED if limited else OF, 1, False).computed


def same(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    rounded = 1e-4  # sums and means are of whole cents, decayed sums of 2^-10 of them at their oldest
    return found.keys() == expected.keys() and all(
        (a is None) == (b is None)
        and (a is None or math.isclose(a, b, rel_tol=1e-9, abs_tol=rounded if "decayed" in name else 1e-6))
        for name, a, b in zip(found, found.values(), (expected[name] for name in found), strict=True)
    )
