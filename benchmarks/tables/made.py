"""Tables made here: what tells a fraud differs from one to the next, and what a model must therefore be good at."""

import datetime

import numpy as np
import polars as pl

START = datetime.datetime(2024, 1, 1)


def clusters(seed: int) -> pl.DataFrame:
    """scikit-learn's generator: 30 numbers, 8 of them informative, 2 % frauds and 1 % of the labels wrong."""
    from sklearn.datasets import make_classification

    x, label = make_classification(
        12_000, 30, n_informative=8, n_redundant=4, n_clusters_per_class=3, weights=[0.985], flip_y=0.01, class_sep=1.0,
        random_state=seed,
    )  # fmt: skip
    return pl.DataFrame({**{f"x{n}": x[:, n] for n in range(30)}, "fraud": label})


def small(seed: int) -> pl.DataFrame:
    """2,000 rows with 60 frauds: eight numbers, two of them skewed, and three columns of words."""
    draw = np.random.default_rng(seed)
    rows = 2_000
    x = draw.normal(size=(rows, 8))
    kind, country = draw.integers(0, 5, rows), draw.zipf(1.6, rows) % 30
    bank = draw.integers(0, 12, rows)
    logit = 1.2 * x[:, 0] + 0.8 * np.abs(x[:, 1]) - 0.9 * x[:, 2] + 1.2 * (kind == 3) + 0.9 * (country > 8)
    label = _most(logit + draw.gumbel(size=rows), 60)
    numbers = {f"x{n}": x[:, n] for n in range(2, 8)}
    return pl.DataFrame(
        {**numbers, "x0": np.exp(x[:, 0]), "x1": np.exp(1.5 * x[:, 1]), "kind": _words("k", kind),
         "country": _words("c", country), "bank": _words("b", bank), "fraud": label}
    )  # fmt: skip


def words(seed: int) -> pl.DataFrame:
    """Three columns of words, two with thousands of which few tell; new words come up in time; 1.5 % frauds."""
    draw = np.random.default_rng(seed)
    rows = 20_000
    when = np.sort(draw.random(rows))
    # A word begins at some moment; the frequent ones were there from the start.
    merchant = _arriving(draw, when, 4_000, 1.1)
    device = _arriving(draw, when, 2_500, 0.9)
    mail = np.minimum((draw.exponential(6, rows)).astype(int), 59)
    x = draw.normal(size=(rows, 5))
    weight_m = np.where(draw.random(4_000) < 0.06, draw.normal(2.5, 0.7, 4_000), draw.normal(0, 0.3, 4_000))
    weight_d = np.where(draw.random(2_500) < 0.04, draw.normal(2.5, 0.7, 2_500), 0.0)
    logit = weight_m[merchant] + weight_d[device] + 0.15 * (mail % 7) + 0.8 * x[:, 0] + 0.7 * (x[:, 1] > 1) * x[:, 2]
    columns = {f"x{n}": x[:, n] for n in range(5)}
    return pl.DataFrame(
        {**columns, "merchant": _words("m", merchant), "device": _words("d", device), "mail": _words("e", mail),
         "when": _days(when * 120), "fraud": _most(logit + draw.gumbel(size=rows), 300)}
    )  # fmt: skip


def drift(seed: int) -> pl.DataFrame:
    """What tells a fraud turns with time, nights are dangerous, amounts are skewed; 3 % frauds over 150 days."""
    draw = np.random.default_rng(seed)
    rows = 15_000
    day = np.sort(draw.random(rows)) * 150
    x = draw.normal(size=(rows, 10))
    amount = np.round(np.exp(draw.normal(3.5, 1.2, rows)), 2)
    product = draw.integers(0, 8, rows)
    angle = day / 150 * np.pi / 2
    night = (day % 1) < 0.25
    logit = 1.3 * (np.cos(angle) * x[:, 0] + np.sin(angle) * x[:, 1]) + 0.8 * x[:, 2] * x[:, 3] + 1.2 * night
    logit += 0.5 * np.log(amount) + 0.4 * (product % 3) * (amount > 100)
    return pl.DataFrame(
        {**{f"x{n}": x[:, n] for n in range(10)}, "amount": amount, "product": _words("p", product),
         "when": _days(day), "fraud": _most(logit + draw.gumbel(size=rows), 450)}
    )  # fmt: skip


def rules(seed: int) -> pl.DataFrame:
    """Frauds keep to rules of thresholds and of pairs of words, as trees do; 4 % frauds, a tenth of them noise."""
    draw = np.random.default_rng(seed)
    rows = 15_000
    x = draw.random((rows, 12)) * np.exp(draw.normal(0, 2, 12))
    part = x / x.max(axis=0)
    a, b, c = (draw.integers(0, size, rows) for size in (6, 15, 40))
    hit = (part[:, 0] > 0.7) & (part[:, 1] < 0.3) & (a < 3)
    hit |= (part[:, 2] > 0.8) & (part[:, 3] > 0.6) & (b % 4 == 1)
    hit |= (np.abs(part[:, 4] - 0.5) < 0.06) & (c % 5 == 2)
    score = 3.0 * hit + 0.6 * part[:, 5] + draw.gumbel(size=rows)
    return pl.DataFrame(
        {**{f"x{n}": np.where(draw.random(rows) < 0.05, np.nan, x[:, n]) for n in range(12)}, "a": _words("a", a),
         "b": _words("b", b), "c": _words("c", c), "fraud": _most(score, 600)}
    ).fill_nan(None)  # fmt: skip


def shop(seed: int) -> pl.DataFrame:
    """Orders of a web shop over 90 days, 1.1 % frauds: ages of accounts, amounts, countries, devices, hours, gaps."""
    draw = np.random.default_rng(seed)
    rows = 20_000
    day = np.sort(draw.random(rows)) * 90
    hour = (draw.normal(15, 4, rows) % 24 + 0.5) % 24
    day = np.sort(np.floor(day) + hour / 24)
    account_days = np.round(draw.exponential(300, rows), 2)
    amount = np.round(np.exp(draw.normal(3.8, 0.9, rows)), 2)
    country = np.minimum(draw.geometric(0.25, rows), 40)
    card_country = np.where(draw.random(rows) < 0.92, country, np.minimum(draw.geometric(0.25, rows), 40))
    browser = draw.choice(12, rows, p=np.r_[0.3, 0.25, 0.15, np.full(9, 0.3 / 9)])
    category = draw.integers(0, 25, rows)
    orders = draw.poisson(2.0, rows)
    ip = np.minimum((draw.pareto(0.8, rows) * 10).astype(int), 6_000)
    risk = np.where(draw.random(6_001) < 0.03, 2.5, 0.0)[ip]
    logit = 1.6 * (account_days < 7) + 0.9 * (country != card_country) + 0.6 * np.log(amount) + risk
    logit += 0.8 * ((day % 1) < 0.25) + 0.7 * np.isin(category, (3, 11)) - 0.25 * orders
    logit += 1.0 * (account_days < 30) * (amount > 100)
    score = np.where(draw.random(rows) < 0.2, np.nan, draw.normal(size=rows) - 0.5 * (account_days < 7))
    return pl.DataFrame(
        {"account_days": account_days, "amount": amount, "orders": orders, "outside_score": score,
         "country": _words("c", country), "card_country": _words("c", card_country), "browser": _words("b", browser),
         "category": _words("g", category), "ip_block": _words("i", ip), "when": _days(day),
         "fraud": _most(logit + draw.gumbel(size=rows), 220)}
    ).fill_nan(None)  # fmt: skip


def market(seed: int) -> pl.DataFrame:
    """Payments at a market place over 180 days, 1.3 % frauds: customers who come again, and rings of a few days.

    A ring shares devices, mail hosts and a delivery street while it lasts; what it used is seldom seen again.
    """
    draw = np.random.default_rng(seed)
    rows, people, ring_rows = 30_000, 9_000, 320
    day = np.sort(np.floor(draw.random(rows) * 180) + (draw.normal(16, 4.5, rows) % 24) / 24)
    person = np.minimum(draw.zipf(1.35, rows), people) - 1
    person = np.where(draw.random(rows) < 0.5, draw.integers(0, people, rows), person)
    home, device = draw.integers(0, 2_500, people)[person], person * 2 + (draw.random(rows) < 0.15)
    host = np.minimum(draw.geometric(0.2, people), 400)[person]
    host = np.where(draw.random(rows) < 0.03, 400 + draw.integers(0, 300, rows), host)
    agent, seller = np.minimum(draw.zipf(1.5, rows), 600), np.minimum(draw.zipf(1.2, rows), 3_000)
    amount = np.exp(draw.normal(3.4, 1.0, rows) + 0.3 * (seller % 5 == 1))
    since = np.round(draw.exponential(200, people)[person] + day, 1)
    chance = -7.0 + 1.1 * (since < 20) + 0.35 * np.log(amount) + 1.2 * (host >= 400) + 1.0 * ((day % 1) < 0.2)
    chance += 1.5 * (draw.random(3_001) < 0.02)[seller] + 0.8 * (agent > 60)
    label = (draw.random(rows) < 1 / (1 + np.exp(-chance))).astype(int)
    number = 0
    for place in draw.permutation(rows - 400)[:60]:  # where a ring begins
        hit = place + np.sort(draw.permutation(400)[: draw.integers(3, 10)])
        if (number := number + len(hit)) > ring_rows:
            break
        device[hit] = 2 * people + place * 3 + draw.integers(0, 2, len(hit))
        home[hit], host[hit] = 2_500 + draw.integers(0, 400), 400 + draw.integers(0, 300)
        amount[hit] *= np.exp(draw.normal(0.9, 0.5, len(hit)))
        since[hit], label[hit] = np.round(draw.exponential(5, len(hit)), 1), draw.random(len(hit)) < 0.85
    columns = {"device": device, "street": home, "mail_host": host, "agent": agent, "seller": seller}
    age = np.where(draw.random(rows) < 0.1, np.nan, since)
    return pl.DataFrame(
        {**{name: _words(name[0], values) for name, values in columns.items()}, "amount": np.round(amount, 2),
         "account_days": age, "items": draw.poisson(1.5, rows) + 1, "hour": np.floor((day % 1) * 24),
         "weekday": np.floor(day) % 7, "when": _days(day), "fraud": label}
    ).fill_nan(None)  # fmt: skip


def _most(score: np.ndarray, frauds: int) -> np.ndarray:
    """1 for the rows of the highest scores."""
    label = np.zeros(len(score), int)
    label[np.argsort(-score)[:frauds]] = 1
    return label


def _words(letter: str, number: np.ndarray) -> list[str]:
    return [f"{letter}{value}" for value in number]


def _days(day: np.ndarray) -> list[datetime.datetime]:
    return [START + datetime.timedelta(seconds=round(value * 86_400)) for value in day]


def _arriving(draw: np.random.Generator, when: np.ndarray, size: int, power: float) -> np.ndarray:
    """A word for each row, by a power law; the rarer it is, the later it may come up first."""
    share = np.arange(1, size + 1) ** -power
    begins = draw.random(size) * np.arange(size) / size * 1.1 - 0.1
    number = draw.choice(size, len(when), p=share / share.sum())
    early = begins[number] > when
    number[early] = draw.choice(size // 10, int(early.sum()))
    return number
