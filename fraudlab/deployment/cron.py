"""The time between the runs of a schedule."""

from datetime import date, timedelta
from itertools import pairwise

from fraudlab.errors import UserError

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = {"minute": (0, 59, ()), "hour": (0, 23, ()), "day": (1, 31, ()), "month": (1, 12, _MONTHS),
           "weekday": (0, 7, _DAYS)}  # fmt: skip
_YEARS = 4 * 366  # days, a leap day among them


def longest_gap(schedule: str) -> int:
    """Most minutes between two runs of a schedule in cron's five fields.

    As cron has it, a day matches by its number or by its weekday where both are restricted.

    Examples:
        >>> longest_gap("15 3 * * *"), longest_gap("0 */6 * * *"), longest_gap("0 9 * * mon-fri")
        (1440, 360, 4320)

    Raises:
        UserError: it is no such schedule, or never runs.
    """
    words = schedule.lower().split()
    try:
        minutes, hours, numbers, months, weekdays = (
            _values(word, *field) for word, field in zip(words, _FIELDS.values(), strict=True)
        )
    except ValueError as error:
        raise UserError(f"watch.schedule={schedule} is not in cron's format, as '15 3 * * *': {error}") from error
    either = not words[2].startswith("*") and not words[4].startswith("*")
    times = sorted(60 * hour + minute for hour in hours for minute in minutes)
    days = []
    for number in range(_YEARS):
        day = date(2024, 1, 1) + timedelta(number)
        fits = (day.day in numbers, day.isoweekday() % 7 in {weekday % 7 for weekday in weekdays})
        if day.month in months and (any(fits) if either else all(fits)):
            days.append(number)
    if not days:
        raise UserError(f"watch.schedule={schedule} names a day that does not exist")
    within = max((later - earlier for earlier, later in pairwise(times)), default=0)
    apart = max((later - earlier for earlier, later in pairwise(days)), default=_YEARS)
    return max(within, 24 * 60 * apart - times[-1] + times[0])


def _values(word: str, least: int, most: int, names: tuple[str, ...]) -> set[int]:
    """What a field allows: ``*``, ``*/6``, ``1-5``, ``1,3``, ``mon``."""
    found: set[int] = set()
    for part in word.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        low = least if first == "*" else _number(first, least, names)
        high = most if first == "*" or (step and not dash) else _number(last, least, names) if dash else low
        values = range(low, high + 1, int(step or 1))
        if not values or low < least or high > most:
            raise ValueError(f"{part} is not from {least} to {most}")
        found |= set(values)
    return found


def _number(word: str, least: int, names: tuple[str, ...]) -> int:
    return least + names.index(word) if word in names else int(word)
