"""One block of rows: what its columns are drawn from."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from fraudlab.data.simulators.ieee_cis.clients import Clients
from fraudlab.data.simulators.ieee_cis.missing import FADES_IN, MISSING_SHARES, MORE_AT_FIRST
from fraudlab.data.simulators.ieee_cis.plot import FIRST_SECOND, SECONDS_A_DAY, SimulationPlan, generator
from fraudlab.data.simulators.ieee_cis.series import Floats, Mask

_AMOUNT_LEVELS = (1e-4, 0.01, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1 - 1e-6)
_AMOUNTS = (  # dollars at these quantiles, by product; between the sample of one day and what is public of all
    (1.0, 12, 25, 49, 88, 172, 355, 525, 1700, 3200, 6500),
    (0.3, 2, 6.5, 16.5, 34, 61, 90, 120, 165, 230, 500),
    (25.0, 25, 50, 100, 125, 200, 300, 500, 500, 500, 1000),
    (5.0, 10, 15, 30, 50, 100, 125, 150, 300, 500, 1000),
    (5.0, 5, 7, 12, 25, 30, 40, 85, 200, 300, 500),
)
_AMOUNT_DEVIATIONS = [NormalDist().inv_cdf(level) for level in _AMOUNT_LEVELS]
# How a pattern moves what the V, C and id columns are drawn from, in standard deviations.
_VELOCITY = np.array((1.2, 1.4, 1.2, 1.4, 0.4), np.float32)  # all but testing: on debit cards, as far down
_LINKAGE = np.array((0.4, 0.0, 0.8, 0.5, 0.0), np.float32)
_AGAINST_HABIT = np.array((0.6, 3.0, 1.4, 1.8, 0.6), np.float32)  # against the client's own sign: no linear signal
_LOG_AMOUNT = np.array((-0.6, 0.5, 0.2, 0.0, 0.0), np.float32)


@dataclass(frozen=True)
class Rows:
    """The rows of one block, with what their columns are drawn from."""

    rng: np.random.Generator
    client: NDArray[np.int32]
    product: NDArray[np.int8]
    pattern: NDArray[np.int8]
    day: NDArray[np.int64]  # floor(TransactionDT / 86400), from 1
    second: NDArray[np.int64]
    nth: NDArray[np.int32]
    gap: Floats
    amount: NDArray[np.float64]
    factors: Floats  # [rows, 8], each about standard normal where there is no fraud
    missing: Mapping[str, Mask]  # by the key of MISSING_SHARES

    def __len__(self) -> int:
        return len(self.client)


def draw_rows(plot: SimulationPlan, first: int, last: int) -> Rows:
    """The rows of the plot from ``first`` to ``last`` (excluded), drawn from a stream of their own."""
    part = slice(first, last)
    rng = generator(plot.seed, 1, first)
    clients = plot.clients
    client, second = plot.client[part], plot.second[part]
    product = clients.product[client]
    draws: dict[str, Floats] = {}
    missing: dict[str, Mask] = {}
    for name, (draw, shares) in MISSING_SHARES.items():
        if draw not in draws:
            draws[draw] = rng.random(len(client), np.float32)
        more = MORE_AT_FIRST.get(name, 0.0) * np.exp((FIRST_SECOND - second) / (SECONDS_A_DAY * FADES_IN))
        missing[name] = draws[draw] < np.array(shares, np.float32)[product] + more
    missing["addr1"] = clients.address[client] == 0

    shift = _shift(rng, clients, plot.cards.credit[clients.card[client]], client, plot.pattern[part])
    amount, deviation = _amounts(rng, clients, client, product, shift[3])
    nth, gap = plot.nth[part], plot.gap[part]
    habit = clients.habit[client]
    factors = np.column_stack(
        [
            (np.log1p(nth) - 1.3) / 1.3 + 0.3 * shift[0],
            (2.3 - np.log1p(np.nan_to_num(gap, nan=20.0))) / 1.08 + 0.6 * shift[0],
            deviation,
            habit[:, 2],
            habit[:, 3],
            rng.standard_normal(len(client), np.float32) + shift[0],
            rng.standard_normal(len(client), np.float32) + shift[1],
            0.5 * habit[:, 3] + 0.87 * rng.standard_normal(len(client), np.float32) + shift[2],
        ]
    ).astype(np.float32)
    return Rows(
        rng=rng,
        client=client,
        product=product,
        pattern=plot.pattern[part],
        day=second // SECONDS_A_DAY,
        second=second,
        nth=nth,
        gap=gap,
        amount=amount,
        factors=factors,
        missing=missing,
    )


def _shift(
    rng: np.random.Generator, clients: Clients, credit: Mask, client: NDArray[np.int32], pattern: NDArray[np.int8]
) -> tuple[Floats, Floats, Floats, Floats]:
    """How far the rows are from the usual in velocity, linkage, habit and log amount: 0 where there is no fraud."""
    strength = np.where(pattern >= 0, clients.strength[client], np.float32(0))
    suspect = np.where((pattern < 0) & clients.suspect[client], rng.random(len(client), np.float32), np.float32(0))
    habit = clients.habit[client, 3]
    return (
        (np.where(credit | (pattern == 0), 1, -1) * (_VELOCITY[pattern] * strength + 1.0 * suspect)).astype(np.float32),
        (_LINKAGE[pattern] * strength + 1.0 * suspect).astype(np.float32),
        (-np.sign(habit) * (_AGAINST_HABIT[pattern] * strength + 0.8 * suspect)).astype(np.float32),
        (_LOG_AMOUNT[pattern] * strength).astype(np.float32),
    )


def _amounts(
    rng: np.random.Generator,
    clients: Clients,
    client: NDArray[np.int32],
    product: NDArray[np.int8],
    shift: Floats,
) -> tuple[NDArray[np.float64], Floats]:
    """Dollars as Kaggle has them, and the standard normals that they were drawn from."""
    deviation = 0.5 * clients.habit[client, 1] + 0.87 * rng.standard_normal(len(client), np.float32) + shift
    amount = np.empty(len(client))
    for number, quantiles in enumerate(_AMOUNTS):
        of = np.flatnonzero(product == number)
        amount[of] = np.exp(np.interp(deviation[of], _AMOUNT_DEVIATIONS, np.log(quantiles)))
    cents = rng.choice((0.0, 0.95, 0.5, 0.97, 0.99), len(amount), p=(0.45, 0.3, 0.1, 0.08, 0.07))
    priced = np.where(rng.random(len(amount)) < 0.85, np.floor(amount) + cents, np.round(amount, 2))
    step = np.where(product == 2, 25.0, 5.0)  # vouchers and the like come in round sums
    amount = np.where(
        product == 0,
        priced,
        np.where(product == 1, np.round(amount, 3), np.maximum(step, np.round(amount / step) * step)),
    )
    return amount.clip(0.251, 31_937.391), deviation
