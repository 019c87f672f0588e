"""Names of the aggregates of ``features=history``, and how its windows are written."""

import re

from fraudlab.errors import UserError

QUANTILES = {f"q{percent}": percent for percent in (1, 5, 10, 25, 75, 90, 95, 99)}
"""Percent of the numbers that lie below."""
LAST = {"last": 1, **{f"last_{k}": k for k in range(2, 11)}}
"""How far back among the rows."""
PLACES = ("distance", "speed")
"""Aggregates of a column of latitudes and one of longitudes."""
NUMBER = (
    *("sum", "mean", "std", "min", "median", "max", "ratio_to_mean", "ratio_to_median", "decayed"),
    *("genuine_mean", "ratio_to_genuine_mean", *QUANTILES, *LAST, *PLACES),
)
TIME = ("since_last", "since_first")
GAPS = ("gap_mean", "gap_std", "gap_min", "gap_max")
CLOCK = ("hour", "weekday", "weekend", "night")
CATEGORY = ("nunique", "is_new", "share", "entropy")
RUNS = ("run_length", "run_age", "run_ended", "open_run_length", "open_run_age")
LABEL = ("rate", "count", "known", "since_first", "since_last", *RUNS)
OF_LABELS = ("genuine_mean", "ratio_to_genuine_mean")
"""Aggregates of a number that rest on labels."""
ONCE = (*LAST, *PLACES, "is_new", *TIME, *RUNS)
"""Aggregates that are not taken by window: they look back over the longest one."""
ROLES = {"count": ("count", "decayed"), "time": (*TIME, *GAPS, *CLOCK), "label": LABEL}
"""What may stand under ``features.of`` besides columns: for each, its aggregates."""

PER_TIME = ("count", "known", "sum", "decayed")
"""Aggregates that grow with the window: over a longer one they are divided a unit of time."""
HALF_LIVES = 16
"""How many of them ``decayed`` looks back; what is older weighs less than 2^-16."""
LONGEST_HALF_LIFE = 10_000  # days

ALL = "all"
_WINDOW = re.compile(r"([1-9][0-9]{0,5})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def is_window(text: str) -> bool:
    """Whether it is written as a window."""
    return text == ALL or _WINDOW.fullmatch(text) is not None


def length(window: str) -> int | None:
    """Length of a window in microseconds; None for ``all``.

    Raises:
        UserError: it is not written as ``30m``, ``1h``, ``7d``, ``2w`` or ``all``.
    """
    if window == ALL:
        return None
    if (found := _WINDOW.fullmatch(window)) is None:
        raise UserError(f"features.windows: {window} is no window; write it as 30m, 1h, 7d, 2w or all")
    return int(found[1]) * _SECONDS[found[2]] * 1_000_000
