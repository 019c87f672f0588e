"""IEEE-CIS features of one record, by plain Python and NumPy: the values that Polars finds for its row, bit for bit."""

import math
import re
from collections.abc import Mapping
from typing import Any

from fraudlab.features.contract import Lookups
from fraudlab.features.ieee_cis.columns import (
    CLIENT,
    COUNTED,
    DAY,
    DETAIL,
    DRIFTING,
    EMAILS,
    FRACTION,
    KEYS,
    MOST_NUMBER,
    NOWHERE,
    ROW_CATEGORICAL,
    ROW_NUMERIC,
    names_by,
)

_FIRST_PART, _LAST_PART = re.compile(r"^([^.]+)"), re.compile(r"([^.]+)\Z")
_WIDTH, _HEIGHT = re.compile(r"^([0-9]+)x"), re.compile(r"x([0-9]+)\Z")
_SMALL_LETTERS, _LETTERS = re.compile(r"^([a-z]+)"), re.compile(r"^([A-Za-z]+)")


def of_row(record: Mapping[str, Any]) -> dict[str, Any]:
    """Features of the record alone; None where a value they need is missing."""
    get = record.get
    time, amount, screen = get("TransactionDT"), get("TransactionAmt"), _text(get("id_33"))
    purchaser, recipient = _text(get("P_emaildomain")), _text(get("R_emaildomain"))
    d1, d15 = get("D1"), get("D15")
    started = [None if get(name) is None or time is None else get(name) - time * (1 / DAY) for name in DRIFTING]
    numbers = (
        *started,
        None if amount is None else float(round((amount - math.floor(amount)) * 1000)) * 0.001,
        None if time is None else float(time // 3600 % 24),
        None if time is None else float(time // DAY % 7),
        float(d1 is not None and d15 is not None and abs(d1 - d15) > 3),
        _number(_found(_WIDTH, screen)),
        _number(_found(_HEIGHT, screen)),
        float(sum(get(f"D{n}") is None for n in range(1, 16))),
    )
    device, browser = _text(get("DeviceInfo")), _text(get("id_31"))
    words = (
        _found(_FIRST_PART, purchaser),
        _found(_LAST_PART, purchaser),
        _found(_FIRST_PART, recipient),
        _found(_LAST_PART, recipient),
        None if purchaser is None or recipient is None else str(purchaser == recipient).lower(),
        _found(_SMALL_LETTERS, device and device.lower()),
        _found(_LETTERS, _text(get("id_30"))),
        _found(_SMALL_LETTERS, browser and browser.lower()),
    )
    return {**dict(zip(ROW_NUMERIC, numbers, strict=True)), **dict(zip(ROW_CATEGORICAL, words, strict=True))}


def of_past(record: Mapping[str, Any], lookups: Lookups) -> dict[str, float | None]:
    """Features of the rows that ``lookups`` (of :func:`fraudlab.features.ieee_cis.past.lookups`) were taken of."""
    seen = max(float(lookups["seen"][0]), 1.0)
    found: dict[str, float | None] = {}
    for key, number in keys(record, lookups).items():
        there = lookups[f"{key}.keys"]
        place = int(there.searchsorted(number))
        names = names_by(key)
        if place < len(there) and there[place] == number:
            count, *values = lookups[f"{key}.values"][place].tolist()
        else:
            count, values = 0.0, [math.nan] * len(names)
        found[f"{key}_share"] = count / seen
        if key in COUNTED:
            found[f"{key}_count"] = count
        for name, value in zip(names, values, strict=True):
            found[name] = None if math.isnan(value) else value
    amount = record.get("TransactionAmt")
    mean, deviation = found["account_TransactionAmt_mean"], found["account_TransactionAmt_std"]
    unlike = None
    if amount is not None and mean is not None and deviation is not None:
        unlike = (amount - mean) / (deviation + 1)
    return {**found, "amount_unlike_account": unlike}


def keys(record: Mapping[str, Any], lookups: Lookups) -> dict[str, int]:
    """The numbers by which ``past`` groups the record's row; one that no row has where a domain is new."""
    cards = {name: record.get(name) for name in ("addr1", "card1", "card2", "card3")}
    number = {name: _in_64_bits((-1.0 if value is None else float(value)) * FRACTION) for name, value in cards.items()}
    domains, domain = lookups[EMAILS], _text(record.get("P_emaildomain"))
    email = 0
    if domain is not None:
        place = int(domains.searchsorted(domain))
        email = place + 1 if place < len(domains) and domains[place] == domain else len(domains) + 1
    card, address = float(cards["card1"] or 0), float(cards["addr1"] or 0)
    fits = abs(card) < MOST_NUMBER and abs(address) < MOST_NUMBER
    client = int(card) * CLIENT + int(address) if fits else NOWHERE
    time, d1 = record.get("TransactionDT"), record.get("D1")
    day = 0
    if time is not None and d1 is not None:
        day = min(max(math.floor(float(time) // DAY - d1) + DETAIL // 2, 1), DETAIL - 1)
    made = (
        number["addr1"],
        number["card1"],
        number["card2"],
        number["card3"],
        email,
        client,
        client * DETAIL + email if fits else NOWHERE,
        client * DETAIL + day if fits else NOWHERE,
    )
    return dict(zip(KEYS, made, strict=True))


def _in_64_bits(number: float) -> int:
    """The whole part of ``number``, or what no row's key is."""
    return int(number) if abs(number) < 2.0**63 else NOWHERE


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _found(pattern: re.Pattern[str], text: str | None) -> str | None:
    match = pattern.search(text) if text else None
    return match.group(1) if match else None


def _number(digits: str | None) -> float | None:
    return None if digits is None else float(digits)
