"""Tables in the shape of public ones: the columns as published, the rows made up here.

Each gives the text of a file and, for every column, the roles that are right: several where either will do.
"""

import datetime
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

ROWS = 1_500
START = datetime.datetime(2024, 1, 1)
Layout = tuple[str, dict[str, str]]


def _draws(seed: int, share: float = 0.08) -> tuple[np.random.Generator, np.ndarray]:
    draw = np.random.default_rng(seed)
    return draw, (draw.random(ROWS) < share).astype(int)


def _amounts(draw: np.random.Generator, fraud: np.ndarray) -> np.ndarray:
    return np.round(draw.gamma(2, 40, ROWS) * (1 + 2 * fraud), 2)


def _ids(draw: np.random.Generator, letter: str, number: int, digits: int = 9) -> list[str]:
    known = draw.choice(10**digits, number, replace=False)
    return [f"{letter}{known[i]:0{digits}}" for i in draw.integers(0, number, ROWS)]


def paysim() -> Layout:
    draw, fraud = _draws(1)
    amount = _amounts(draw, fraud)
    old = np.round(draw.gamma(2, 5_000, ROWS), 2)
    unique = draw.choice(10**9, ROWS, replace=False)
    rows = {
        "step": np.sort(draw.integers(1, 744, ROWS)),
        "type": draw.choice(["PAYMENT", "TRANSFER", "CASH_OUT", "CASH_IN", "DEBIT"], ROWS),
        "amount": amount,
        "nameOrig": [f"C{n}" for n in unique],
        "oldbalanceOrg": old,
        "newbalanceOrig": np.round(np.maximum(old - amount, 0), 2),
        "nameDest": _ids(draw, "M", 1_100),
        "oldbalanceDest": np.round(draw.gamma(2, 9_000, ROWS), 2),
        "newbalanceDest": np.round(draw.gamma(2, 9_000, ROWS), 2),
        "isFraud": fraud,
        "isFlaggedFraud": (fraud * (draw.random(ROWS) < 0.05)).astype(int),
    }
    return pl.DataFrame(rows).write_csv(), {
        "step": "time", "type": "categorical", "amount": "amount", "nameOrig": "card carried",
        "oldbalanceOrg": "numeric",
        "newbalanceOrig": "numeric", "nameDest": "terminal", "oldbalanceDest": "numeric", "newbalanceDest": "numeric",
        "isFraud": "label", "isFlaggedFraud": "carried",
    }  # fmt: skip


def sparkov() -> Layout:
    draw, fraud = _draws(2)
    seconds = np.sort(draw.integers(0, 180 * 86_400, ROWS))
    people = 80
    who = draw.integers(0, people, ROWS)
    cards = draw.integers(10**15, 9 * 10**15, people)
    lat, long = draw.uniform(30, 45, people).round(4), draw.uniform(-120, -70, people).round(4)
    words = [f"name{n}" for n in range(people)]
    rows: dict[str, Any] = {
        "": np.arange(ROWS),
        "trans_date_trans_time": [str(START + datetime.timedelta(seconds=int(s))) for s in seconds],
        "cc_num": cards[who],
        "merchant": [f"fraud_Shop {n}" for n in draw.integers(0, 120, ROWS)],
        "category": draw.choice(["grocery_pos", "gas_transport", "shopping_net"], ROWS),
        "amt": _amounts(draw, fraud),
        "first": [words[n % 40] for n in who],
        "last": [words[n % 60] for n in who],
        "gender": [("M", "F")[n % 2] for n in who],
        "street": [f"{n} Main Street" for n in who],
        "city": [f"City{n % 50}" for n in who],
        "state": [("NC", "WA", "ID", "MT")[n % 4] for n in who],
        "zip": [28_000 + 37 * n for n in who],
        "lat": lat[who],
        "long": long[who],
        "city_pop": [3_000 + 911 * (n % 50) for n in who],
        "job": [f"Job{n % 30}" for n in who],
        "dob": [str(datetime.date(1960 + n % 40, 1 + n % 12, 1 + n % 28)) for n in who],
        "trans_num": [f"{n:032x}" for n in draw.choice(2**62, ROWS)],
        "unix_time": 1_325_376_018 + seconds,
        "merch_lat": draw.uniform(30, 45, ROWS).round(6),
        "merch_long": draw.uniform(-120, -70, ROWS).round(6),
        "is_fraud": fraud,
    }
    roles = "carried time card categorical categorical amount"
    return pl.DataFrame(rows).write_csv(), {
        **dict(zip(["column_1", *list(rows)[1:6]], roles.split(), strict=True)),
        "merchant": "categorical terminal", "first": "categorical carried", "last": "categorical carried",
        "gender": "categorical", "street": "categorical carried", "city": "categorical", "state": "categorical",
        "zip": "categorical", "lat": "numeric", "long": "numeric", "city_pop": "numeric", "job": "categorical",
        "dob": "carried", "trans_num": "id", "unix_time": "carried", "merch_lat": "numeric", "merch_long": "numeric",
        "is_fraud": "label",
    }  # fmt: skip


def ulb() -> Layout:
    draw, fraud = _draws(3)
    rows: dict[str, Any] = {"Time": np.sort(draw.integers(0, 172_793, ROWS)).astype(float)}
    rows |= {f"V{n}": draw.normal(size=ROWS) + fraud * (n < 4) for n in range(1, 29)}
    rows |= {"Amount": _amounts(draw, fraud), "Class": [f"{value}" for value in fraud]}
    return pl.DataFrame(rows).write_csv(quote_style="non_numeric"), {
        "Time": "time", **{f"V{n}": "numeric" for n in range(1, 29)}, "Amount": "amount", "Class": "label",
    }  # fmt: skip


def tabformer() -> Layout:
    draw, fraud = _draws(4)
    user = np.sort(draw.integers(0, 40, ROWS))  # the file is in order of users, not of time
    amount = _amounts(draw, fraud)
    shops = draw.integers(-(2**62), 2**62, 300)
    online = draw.random(ROWS) < 0.2
    rows = {
        "User": user,
        "Card": draw.integers(0, 4, ROWS),
        "Year": draw.integers(2015, 2020, ROWS),
        "Month": draw.integers(1, 13, ROWS),
        "Day": draw.integers(1, 29, ROWS),
        "Time": [f"{h:02}:{m:02}" for h, m in zip(draw.integers(0, 24, ROWS), draw.integers(0, 60, ROWS), strict=True)],
        "Amount": [f"${'-' if n % 50 == 0 else ''}{a:.2f}" for n, a in enumerate(amount)],
        "Use Chip": draw.choice(["Swipe Transaction", "Chip Transaction", "Online Transaction"], ROWS),
        "Merchant Name": shops[draw.integers(0, 300, ROWS)],
        "Merchant City": np.where(online, "ONLINE", draw.choice(["La Verne", "Monterey Park", "Mira Loma"], ROWS)),
        "Merchant State": [
            None if o else s for o, s in zip(online, draw.choice(["CA", "NY", "TX"], ROWS), strict=True)
        ],
        "Zip": np.where(online, np.nan, draw.choice([91750.0, 91754.0, 91755.0], ROWS)),
        "MCC": draw.choice([5300, 5411, 5651, 5912], ROWS),
        "Errors?": [("Technical Glitch", "Bad PIN")[n % 2] if n % 40 == 0 else None for n in range(ROWS)],
        "Is Fraud?": np.where(fraud == 1, "Yes", "No"),
    }
    return pl.DataFrame(rows).with_columns(pl.col("Zip").fill_nan(None)).write_csv(), {
        "User": "card", "Card": "categorical", "Year": "carried", "Month": "carried", "Day": "carried",
        "Time": "carried",
        "when": "time", "Amount": "amount", "Use Chip": "categorical", "Merchant Name": "categorical terminal",
        "Merchant City": "categorical", "Merchant State": "categorical", "Zip": "categorical", "MCC": "categorical",
        "Errors?": "categorical", "Is Fraud?": "label",
    }  # fmt: skip


def baf() -> Layout:
    draw, fraud = _draws(5)

    def share(missing: float) -> np.ndarray:
        return np.where(draw.random(ROWS) < missing, -1, draw.integers(0, 300, ROWS))

    rows = {
        "fraud_bool": fraud,
        "income": draw.choice([0.1, 0.3, 0.5, 0.9], ROWS),
        "name_email_similarity": draw.random(ROWS),
        "prev_address_months_count": share(0.7),
        "current_address_months_count": share(0.01),
        "customer_age": draw.choice([20, 30, 40, 50, 60], ROWS),
        "days_since_request": draw.gamma(1, 0.05, ROWS),
        "intended_balcon_amount": draw.normal(10, 20, ROWS),
        "payment_type": draw.choice(["AA", "AB", "AC"], ROWS),
        "zip_count_4w": draw.integers(1, 6_000, ROWS),
        "velocity_6h": draw.gamma(5, 1_000, ROWS),
        "velocity_24h": draw.gamma(5, 900, ROWS),
        "velocity_4w": draw.gamma(50, 90, ROWS),
        "bank_branch_count_8w": draw.integers(0, 2_000, ROWS),
        "date_of_birth_distinct_emails_4w": draw.integers(0, 30, ROWS),
        "employment_status": draw.choice(["CA", "CB", "CC"], ROWS),
        "credit_risk_score": draw.integers(-100, 380, ROWS),
        "email_is_free": draw.integers(0, 2, ROWS),
        "housing_status": draw.choice(["BA", "BB", "BC"], ROWS),
        "phone_home_valid": draw.integers(0, 2, ROWS),
        "phone_mobile_valid": draw.integers(0, 2, ROWS),
        "bank_months_count": share(0.25),
        "has_other_cards": draw.integers(0, 2, ROWS),
        "proposed_credit_limit": draw.choice([200.0, 500.0, 1_500.0], ROWS),
        "foreign_request": draw.integers(0, 2, ROWS),
        "source": draw.choice(["INTERNET", "TELEAPP"], ROWS),
        "session_length_in_minutes": draw.gamma(2, 4, ROWS),
        "device_os": draw.choice(["windows", "other", "linux"], ROWS),
        "keep_alive_session": draw.integers(0, 2, ROWS),
        "device_distinct_emails_8w": draw.integers(-1, 3, ROWS),
        "device_fraud_count": np.zeros(ROWS, int),
        "month": np.sort(draw.integers(0, 8, ROWS)),
    }
    words = {"fraud_bool": "label", "month": "carried", "when": "time", "intended_balcon_amount": "amount numeric"}
    kinds = {"payment_type", "employment_status", "housing_status", "source", "device_os"}
    flags = {"email_is_free", "phone_home_valid", "phone_mobile_valid", "has_other_cards", "foreign_request"}
    roles = {name: "categorical" if name in kinds else "numeric" for name in rows}
    roles |= dict.fromkeys([*flags, "keep_alive_session"], "numeric categorical")
    return pl.DataFrame(rows).write_csv(), {**roles, **words}


def elliptic() -> Layout:
    draw, _ = _draws(6)
    step = np.sort(draw.integers(1, 50, ROWS))
    word = draw.choice(["unknown", "1", "2"], ROWS, p=[0.6, 0.1, 0.3])
    rows: dict[str, Any] = {"txId": draw.choice(10**9, ROWS, replace=False), "class": word, "Time step": step}
    rows |= {f"Local_feature_{n}": draw.normal(size=ROWS) + (word == "1") for n in range(1, 20)}
    rows |= {f"Aggregate_feature_{n}": draw.normal(size=ROWS) for n in range(1, 11)}
    return pl.DataFrame(rows).write_csv(), {
        **dict.fromkeys(rows, "numeric"), "txId": "id", "class": "label", "Time step": "time",
    }  # fmt: skip


def banksim() -> Layout:
    draw, fraud = _draws(7)
    rows = {
        "step": np.sort(draw.integers(0, 180, ROWS)),
        "customer": _ids(draw, "C", 200),
        "age": draw.choice(["0", "1", "2", "3", "4", "U"], ROWS),
        "gender": draw.choice(["M", "F", "E"], ROWS),
        "zipcodeOri": ["28007"] * ROWS,
        "merchant": _ids(draw, "M", 40),
        "zipMerchant": ["28007"] * ROWS,
        "category": draw.choice(["es_transportation", "es_health", "es_food"], ROWS),
        "amount": _amounts(draw, fraud),
        "fraud": fraud,
    }
    text = ["customer", "age", "gender", "zipcodeOri", "merchant", "zipMerchant", "category"]
    quoted = pl.DataFrame(rows).with_columns(pl.format("'{}'", pl.col(name)).alias(name) for name in text)
    return quoted.write_csv(), {
        "step": "time", "customer": "card", "age": "categorical", "gender": "categorical", "zipcodeOri": "categorical",
        "merchant": "categorical terminal", "zipMerchant": "categorical", "category": "categorical", "amount": "amount",
        "fraud": "label",
    }  # fmt: skip


LAYOUTS: dict[str, Callable[[], Layout]] = {
    made.__name__: made for made in (paysim, sparkov, ulb, tabformer, baf, elliptic, banksim)
}
