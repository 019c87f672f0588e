"""The columns of the transaction table but for V: clients, counts, days and matches."""

import numpy as np
import polars as pl

from fraudlab.data.simulators.ieee_cis.clients import CARD_BRANDS, EMAILS, Clients
from fraudlab.data.simulators.ieee_cis.plot import SECONDS_A_DAY, SimulationPlan
from fraudlab.data.simulators.ieee_cis.rows import Rows
from fraudlab.data.simulators.ieee_cis.series import add, add_labels, counted
from fraudlab.data.simulators.ieee_cis.values import values_of


def add_clients(columns: dict[str, pl.Series], rows: Rows, plot: SimulationPlan) -> None:
    clients, cards, rng = plot.clients, plot.cards, rows.rng
    card = clients.card[rows.client]
    add(columns, "card1", cards.card1[card].astype(np.int64))
    add(columns, "card2", cards.card2[card])
    add(columns, "card3", cards.card3[card])
    unread = rng.random(len(rows)) < 0.0026
    add_labels(columns, "card4", cards.card4[card], CARD_BRANDS, unread)
    add(columns, "card5", cards.card5[card])
    add_labels(columns, "card6", cards.credit[card].astype(np.int8), ("debit", "credit"), unread)

    add(columns, "addr1", clients.address[rows.client].astype(np.float32), rows.missing["addr1"])
    country = np.where(
        clients.taste[rows.client, 5] < 0.993, 87, 10 + np.floor(9000 * (clients.taste[rows.client, 5] - 0.993))
    )
    add(columns, "addr2", country.astype(np.float32), rows.missing["addr1"])
    far = np.exp(2.2 + 1.5 * rows.factors[:, 6] * 0.6 + 1.4 * rng.standard_normal(len(rows), np.float32))
    add(columns, "dist1", counted(far).clip(0, 10_286), rows.missing["dist1"])
    add(columns, "dist2", counted(far * 8).clip(0, 11_623), rows.missing["dist2"])
    domains = [*EMAILS]
    add_labels(columns, "P_emaildomain", clients.email[rows.client], domains, rows.missing["P_emaildomain"])
    # Who takes an account over has the goods sent elsewhere.
    elsewhere = (rows.pattern == 1) & (rng.random(len(rows)) < 0.5)
    receiver = np.where(elsewhere, rng.integers(0, 12, len(rows)), clients.receiver[rows.client])
    add_labels(columns, "R_emaildomain", receiver, domains, rows.missing["R_emaildomain"])


def add_counts(columns: dict[str, pl.Series], rows: Rows) -> None:
    """C1 to C14: what has been counted of the client, more the more of its transactions there were before."""
    f = rows.factors
    activity = (0.65 * f[:, 0] + 0.35 * f[:, 4] + 0.30 * f[:, 5] + 0.45 * f[:, 6]) / 0.92
    for n in range(1, 15):
        latent = 0.93 * activity + 0.37 * rows.rng.standard_normal(len(rows), np.float32)
        add(columns, f"C{n}", np.round(values_of(f"C{n}", latent, rows.product)))


# The clocks of things linked to an account (an address, a device): share of them that started with it and that
# started before it, of W and of the other products; all others started later.
_CLOCKS = {
    "D4": ((0.29, 0.24), (0.36, 0.07)),
    "D6": ((0.29, 0.24), (0.36, 0.07)),
    "D10": ((0.34, 0.24), (0.02, 0.00)),
    "D11": ((0.22, 0.31), (0.22, 0.31)),
    "D12": ((0.29, 0.24), (0.36, 0.08)),
    "D13": ((0.15, 0.05), (0.15, 0.05)),
    "D14": ((0.12, 0.11), (0.12, 0.11)),
    "D15": ((0.39, 0.28), (0.30, 0.06)),
}
_UNKNOWN = np.array((0.0, 0.68, 0.88, 0.97, 0.2))  # share of a product's clients that are new each time they pay


def add_days(columns: dict[str, pl.Series], rows: Rows, clients: Clients) -> None:
    """D1 to D15: days since something; D9 is the hour of the day as a share of it."""
    missing = rows.missing
    taste = clients.taste[rows.client]
    unknown = taste[:, 0] < _UNKNOWN[rows.product]
    d1 = np.maximum(rows.day - clients.start[rows.client], 0).astype(np.float32)
    d1[unknown] = 0
    # A new account has no payment before, except on the same day.
    first = np.isnan(rows.gap) | ((d1 == 0) & (rows.gap >= 1))
    since = np.floor(np.nan_to_num(rows.gap))

    add(columns, "D1", d1, missing["V281"])
    add(columns, "D2", d1, missing["D2"] | (d1 == 0) | missing["V281"])
    add(columns, "D3", since, missing["D3"] | first)
    # What D5 and D7 count is known of a quarter of the new accounts.
    linked = first & (taste[:, 3] < 0.25)
    since_linked = np.where(linked, np.maximum(100 * taste[:, 4] - 25, 0), since * np.minimum(0.5 + taste[:, 3], 1))
    for name in ("D5", "D7"):
        add(columns, name, np.floor(since_linked), missing[name] | (first & ~linked))
    # Kaggle's fractions of days were cut to six digits and held as float32.
    hour = np.floor(rows.second % SECONDS_A_DAY / 3600)
    share = np.floor(hour / 24 * 1e6) / 1e6
    long_ago = np.floor(np.exp(4.3 + 1.6 * (2 * taste[:, 5] - 1)) + since * taste[:, 0])
    add(columns, "D8", (long_ago + share).astype(np.float32), missing["D8"])
    add(columns, "D9", share.astype(np.float32), missing["D8"])
    age, w = rows.day - clients.start[rows.client], rows.product == 0
    for n, (name, (of_w, of_others)) in enumerate(_CLOCKS.items(), 1):
        # Two uniform draws of the client for each clock: fractions of sums of its own draws.
        kind, size = (taste[:, 1] + n * taste[:, 2]) % 1, (taste[:, 3] + n * taste[:, 4]) % 1
        same, before = (np.where(w, *share) for share in zip(of_w, of_others, strict=True))
        delay = -np.where(w, 30, 200) * np.log1p(-size)
        days = np.where(kind < same, d1, np.maximum(d1 - delay, 0))
        days = np.where(kind > 1 - before, age + 400 * size, days)
        add(columns, name, np.floor(days), missing[name])


def add_matches(columns: dict[str, pl.Series], rows: Rows) -> None:
    """M1 to M9: whether names and addresses match; a client's answers are much the same each time."""
    linkage, habit = rows.factors[:, 6], rows.factors[:, 4]
    blocks = ("M1", "M1", "M1", "M4", "M5", "M6", "M7", "M7", "M7")
    for n, (block, center) in enumerate(zip(blocks, (3.5, 1.3, 0.9, 0, 0.1, -0.1, -1.0, -0.4, 0.9), strict=True), 1):
        said = center + 0.9 * habit - 0.45 * linkage + 0.7 * rows.rng.standard_normal(len(rows), np.float32)
        if n == 4:
            against = rows.factors[:, 7]
            add_labels(
                columns,
                "M4",
                (said < 0.2) * (1 + (against - 0.5 * said > 0.1)),
                ("M0", "M1", "M2"),
                rows.missing[block],
            )
        else:
            add_labels(columns, f"M{n}", (said > 0).astype(np.int8), ("F", "T"), rows.missing[block])
