"""Who pays: cards, the clients that hold them, and what each of them is like."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fraudlab.data.simulators.ieee_cis.devices import OPERATING_SYSTEM_SHARE
from fraudlab.data.simulators.ieee_cis.missing import MISSING_SHARES
from fraudlab.data.simulators.ieee_cis.series import Floats, Mask

PRODUCTS = ("W", "C", "R", "H", "S")
_PRODUCT_SHARE = (0.7447, 0.1160, 0.0638, 0.0559, 0.0196)
EMAILS: Mapping[str, float] = {
    **{"gmail.com": 228, "yahoo.com": 101, "hotmail.com": 45, "anonymous.com": 37, "aol.com": 28, "comcast.net": 7.9},
    **{"icloud.com": 6.3, "outlook.com": 5.1, "msn.com": 4.1, "att.net": 4.0, "live.com": 3.0, "sbcglobal.net": 3.0},
    **{"verizon.net": 2.7, "ymail.com": 2.4, "bellsouth.net": 1.9, "yahoo.com.mx": 1.5, "me.com": 1.5, "cox.net": 1.4},
    **{"optonline.net": 1.0, "charter.net": 0.8, "live.com.mx": 0.75, "rocketmail.com": 0.7, "mail.com": 0.6},
    **{"earthlink.net": 0.5, "gmail": 0.5, "outlook.es": 0.4, "mac.com": 0.4, "juno.com": 0.3, "aim.com": 0.3},
    **{"hotmail.es": 0.3, "roadrunner.com": 0.3, "windstream.net": 0.3, "hotmail.fr": 0.3, "frontier.com": 0.3},
    **{"embarqmail.com": 0.3, "web.de": 0.25, "netzero.com": 0.2, "twc.com": 0.2, "prodigy.net.mx": 0.2, "q.com": 0.2},
    **{"centurylink.net": 0.2, "netzero.net": 0.2, "frontiernet.net": 0.2, "suddenlink.net": 0.2, "cfl.rr.com": 0.2},
    **{"sc.rr.com": 0.15, "cableone.net": 0.15, "gmx.de": 0.15, "yahoo.fr": 0.15, "yahoo.es": 0.15},
    **{"hotmail.co.uk": 0.1, "protonmail.com": 0.1, "yahoo.de": 0.1, "ptd.net": 0.07, "live.fr": 0.06},
    **{"yahoo.co.uk": 0.05, "hotmail.de": 0.05, "servicios-ta.com": 0.04, "yahoo.co.jp": 0.03},
}

CARD_BRANDS = ("visa", "mastercard", "american express", "discover")
_CARD5 = (226, 224, 166, 102, 117, 138, 195, 137, 219, 126, 202, 162, 150, 100, 198, 185, 147, 197, 229, 183)


@dataclass(frozen=True)
class Clients:
    """One value a client; ``habit`` [clients, 4] is standard normal."""

    product: NDArray[np.int8]
    card: NDArray[np.int32]
    address: NDArray[np.int16]  # addr1; 0: none
    email: NDArray[np.int8]
    receiver: NDArray[np.int8]
    start: NDArray[np.int16]  # day, counted as TransactionDT / 86400, on which the account was opened
    habit: Floats
    strength: Floats  # how far its frauds move from the usual
    suspect: Mask  # looks like a fraud without being one
    device: NDArray[np.int8]  # index of OPERATING_SYSTEMS
    taste: Floats  # [clients, 6] uniform: which of a list of categories is the client's own


@dataclass(frozen=True)
class Cards:
    """One value a card1."""

    card1: NDArray[np.int32]
    card2: Floats
    card3: Floats
    card4: NDArray[np.int8]
    card5: Floats
    credit: Mask
    weight: NDArray[np.float64]


def draw_cards(rng: np.random.Generator) -> Cards:
    """As many cards as the real data have."""
    card1 = np.sort(rng.choice(np.arange(1000, 18397), 13_553, replace=False))
    number = len(card1)
    brand = rng.choice(4, number, p=(0.653, 0.322, 0.014, 0.011)).astype(np.int8)
    weight = 1 / (rng.permutation(number) + 30) ** 1.1
    abroad = rng.random(number) < 0.12
    card5 = np.where(rng.random(number) < 0.6, rng.choice(_CARD5, number), rng.integers(100, 238, number))
    return Cards(
        card1=card1.astype(np.int32),
        card2=np.where(rng.random(number) < 0.015, np.nan, rng.integers(100, 601, number)).astype(np.float32),
        card3=np.where(abroad, np.where(rng.random(number) < 0.7, 185, rng.integers(100, 232, number)), 150).astype(
            np.float32
        ),
        card4=brand,
        card5=np.where(rng.random(number) < 0.007, np.nan, np.where(brand == 0, 226, card5)).astype(np.float32),
        credit=(rng.random(number) < 0.25) | (brand >= 2),
        weight=weight / weight.sum(),
    )


def draw_clients(rng: np.random.Generator, number: int, cards: Cards, days: int) -> tuple[Clients, NDArray[np.float64]]:
    """The clients, and the day of each one's first transaction, from 0 to ``days``."""
    product = rng.choice(5, number, p=_PRODUCT_SHARE).astype(np.int8)
    # Other products than W sell most before Christmas.
    first_day = days * 0.97 * (1 - rng.random(number) ** np.where(product == 0, 1 / 1.4, 1 / 1.6))
    # Most clients seen in the first weeks have paid before them.
    known = rng.random(number) < 0.22 + 0.55 * np.exp(-first_day / 25)
    age = np.where(known, rng.exponential(150 + 8 * first_day), 0).clip(0, 458 + first_day)
    emails = np.array(list(EMAILS.values()))
    email, receiver = rng.choice(len(emails), (2, number), p=emails / emails.sum()).astype(np.int8)
    abroad = (product == 1) & (rng.random(number) < 0.7)
    home = cards.weight * (cards.card3 == 150)
    away = cards.weight * (cards.card3 != 150)
    card = np.where(
        abroad,
        rng.choice(len(home), number, p=away / away.sum()),
        rng.choice(len(home), number, p=home / home.sum()),
    )
    places = np.sort(rng.choice(np.arange(100, 541), 332, replace=False))
    weight = 1 / (rng.permutation(332) + 3.0)
    share = np.array(MISSING_SHARES["addr1"][1])[product]
    return Clients(
        product=product,
        card=card.astype(np.int32),
        address=np.where(rng.random(number) < share, 0, rng.choice(places, number, p=weight / weight.sum())).astype(
            np.int16
        ),
        email=email,
        receiver=np.where(rng.random(number) < 0.75, email, receiver).astype(np.int8),
        start=(np.floor(first_day) + 1 - np.floor(age)).astype(np.int16),
        habit=rng.standard_normal((number, 4), np.float32),
        strength=rng.uniform(0.6, 2.0, number).astype(np.float32),
        suspect=rng.random(number) < 0.04,
        device=rng.choice(5, number, p=OPERATING_SYSTEM_SHARE).astype(np.int8),
        taste=rng.random((number, 6), np.float32),
    ), first_day
