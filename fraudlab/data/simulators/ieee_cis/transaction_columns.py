"""The columns of the transaction table but for V: clients, counts, days and matches."""

import numpy as np
import polars as pl

from fraudlab.data.simulators.ieee_cis.clients import CARD_BRANDS, EMAILS, Clients
from fraudlab.data.simulators.ieee_cis.plot import SECONDS_A_DAY, Plot
from fraudlab.data.simulators.ieee_cis.rows import Rows
from fraudlab.data.simulators.ieee_cis.series import add, add_labels, counted


def add_clients(columns: dict[str, pl.Series], rows: Rows, plot: Plot) -> None:
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
    """C1 to C14: what has been counted of the client; C5 and C9 for ProductCD W alone, five others for the rest."""
    w = rows.product == 0
    f = rows.factors
    activity = 0.55 * f[:, 0] + 0.35 * f[:, 4] + 0.30 * f[:, 5] + 0.45 * f[:, 6]
    base = np.log1p(rows.nth).astype(np.float32) * 0.5
    for n, (center, spread) in enumerate(
        (
            *((0.75, 0.85), (0.75, 0.9), (-6.0, 0.5), (0.0, 0.8), (-0.2, 1.1), (0.55, 0.8), (-0.6, 0.9)),
            *((0.0, 0.9), (0.3, 0.8), (-0.1, 0.9), (0.6, 0.8), (-0.5, 0.9), (1.7, 1.1), (0.6, 0.7)),
        ),
        start=1,
    ):
        noise = rows.rng.standard_normal(len(rows), np.float32)
        value = counted(np.exp(center + base + spread * (0.75 * activity + 0.4 * noise))).clip(0, 5000)
        if n in (5, 9):
            value[~w] = 0
        elif n in (4, 7, 8, 10, 12):
            value[w] = np.where(noise[w] > 3, 1, 0)
        elif n in (1, 2, 6, 11, 14):
            value = np.maximum(value, 1)
        add(columns, f"C{n}", value)


def add_days(columns: dict[str, pl.Series], rows: Rows, clients: Clients) -> None:
    """D1 to D15: days since something; D9 is the hour of the day as a share of it."""
    rng, missing = rows.rng, rows.missing
    d1 = np.maximum(rows.day - clients.start[rows.client], 0).astype(np.float32)
    taste = clients.taste[rows.client]
    first_ever = np.isnan(rows.gap)
    since = np.where(first_ever, np.floor(d1 * taste[:, 0] ** 2), np.floor(np.nan_to_num(rows.gap)))
    # The clocks of things linked to the account (an address, a device) started with it, before it or after it.
    before = np.floor(1200 * np.maximum(taste[:, 1] - 0.4, 0) ** 3)
    after = np.where(taste[:, 2] < 0.6, 0, np.floor(d1 * (taste[:, 2] - 0.6) * 2))
    never = first_ever & (d1 == 0)

    add(columns, "D1", d1, missing["V281"])
    add(columns, "D2", d1, missing["D2"] | (d1 == 0) | missing["V281"])
    add(columns, "D3", since, missing["D3"] | never)
    add(columns, "D4", d1 + before, missing["D4"])
    add(columns, "D5", np.floor(since * (0.5 + taste[:, 3])), missing["D5"] | never)
    add(columns, "D6", np.floor(d1 * taste[:, 4] ** 2), missing["D6"])
    add(columns, "D7", np.floor(since * taste[:, 4]), missing["D7"] | never)
    # Kaggle's fractions of days were cut to six digits and held as float32.
    hour = np.floor(rows.second % SECONDS_A_DAY / 3600)
    share = np.floor(hour / 24 * 1e6) / 1e6
    add(
        columns,
        "D8",
        (np.floor(since * (1 + 2 * taste[:, 0]) + 8 * taste[:, 5]) + share).astype(np.float32),
        missing["D8"],
    )
    add(columns, "D9", share.astype(np.float32), missing["D8"])
    add(columns, "D10", d1 - after, missing["D10"])
    add(columns, "D11", d1 + np.floor(before / 2), missing["D11"])
    add(columns, "D12", np.floor(d1 * taste[:, 3] ** 3), missing["D12"])
    add(columns, "D13", np.floor(d1 * taste[:, 2] ** 6), missing["D13"])
    add(columns, "D14", np.floor(d1 * taste[:, 1] ** 3), missing["D14"])
    odd = rng.random(len(rows)) < 0.03
    add(columns, "D15", d1 + before + odd * np.floor(30 * taste[:, 4]), missing["D15"])


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
