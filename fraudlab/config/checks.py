"""Checks that settings share: each error says what would do."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from fraudlab.errors import UserError

MISSING: Any = "???"  # OmegaConf's mark of a mandatory value, written out so that this file imports nothing heavy

AUTO = "auto"
"""A number that follows from the table: :mod:`fraudlab.training.auto`."""


def auto_or_at_least(key: str, value: int | str, least: int) -> None:
    if isinstance(value, str):
        one_of(key, value, (AUTO, "a number"))
    else:
        at_least(key, value, least)


def one_of(key: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise UserError(f"{key}={value} does not exist; it is one of: {', '.join(allowed)}")


def moment(key: str, text: str | None) -> datetime | None:
    """The time that a text says; None where there is none."""
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"{key}={text} is no ISO 8601 date or time, as 2026-11-01 or 2026-11-01T06:00") from None


def number(key: str, value: Any, kind: type[int] | type[float]) -> None:
    """Refuse what is no number, or none of ``kind``: for settings whose types nothing else checks."""
    if isinstance(value, bool) or not isinstance(value, (int, kind)):
        raise UserError(f"{key}={value} is no {'whole ' if kind is int else ''}number")


def at_least(key: str, value: float, least: float) -> None:
    if not value >= least:
        raise UserError(f"{key}={value} is too small; it must be at least {least}")


def above(key: str, value: float, least: float) -> None:
    if not value > least:
        raise UserError(f"{key}={value} is too small; it must be above {least}")


def check_costs(admin_cost: float, recovery_share: float) -> None:
    """What :mod:`fraudlab.metrics.cost` can count with."""
    at_least("admin_cost", admin_cost, 0)
    above("recovery_share", recovery_share, 0)
    within("recovery_share", recovery_share, 0, 1)


def within(key: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UserError(f"{key}={value} is out of range; it must lie in [{low}, {high}]")
