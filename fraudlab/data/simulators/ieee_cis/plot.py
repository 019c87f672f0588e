"""The plot, drawn for all rows at once: who pays when, and who is compromised when; about 100 bytes a row."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fraudlab.data.simulators.ieee_cis.bursts import draw_bursts, with_bursts
from fraudlab.data.simulators.ieee_cis.clients import Cards, Clients, draw_cards, draw_clients
from fraudlab.data.simulators.ieee_cis.series import Floats, Mask

FIRST_SECOND = 86_400  # TransactionDT of the first row
SECONDS_A_DAY = 86_400

_WITH_IDENTITY = (0.0, 0.91, 0.99, 0.985, 0.99)  # at the default share of identity rows
_HOURS = np.array(  # transactions by hour of the day
    (35, 33, 30, 24, 18, 11, 6, 3.5, 2.5, 2.4, 3, 6, 13, 21, 28, 34, 38, 40, 42, 42, 41, 40, 38, 37), float
)


def generator(seed: int, *stream: int) -> np.random.Generator:
    """Random numbers of one stream of a seed, independent of those of its other streams."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=stream))


@dataclass(frozen=True)
class SimulationPlan:
    """The clients and cards, and one value a transaction, in order of time."""

    seed: int
    clients: Clients
    cards: Cards
    client: NDArray[np.int32]
    second: NDArray[np.int64]
    pattern: NDArray[np.int8]  # index of PATTERNS; -1: no fraud
    nth: NDArray[np.int32]  # how many transactions of the client lie before, those before the first row too
    gap: Floats  # days since the client's transaction before; NaN at the account's first
    identity: Mask


def draw_plot(rows: int, seed: int, identity_share: float, days: int) -> SimulationPlan:
    """All transactions of ``rows`` over ``days``, as :func:`fraudlab.data.simulators.ieee_cis.simulate` takes them."""
    rng = generator(seed, 0)
    cards = draw_cards(rng)
    count = np.floor(0.8 * np.exp(1.1 * rng.standard_normal(rows * 6 // 10 + 50)) + 1).clip(1, 300).astype(np.int64)
    while count.sum() < rows:
        count += 1
    clients, first_day = draw_clients(rng, len(count), cards, days)

    # Transactions of a client follow its first at exponential gaps; those past the end start over at the first.
    client = np.repeat(np.arange(len(count), dtype=np.int32), count)
    mean_gap = np.exp(2.8 + 0.8 * clients.habit[:, 0]).astype(np.float64)
    gap = rng.exponential(mean_gap[client])
    gap[rng.random(len(gap)) < 0.2] *= 0.02  # again on the same day
    begins = count.cumsum() - count
    gap[begins] = 0
    gap = gap.cumsum()
    gap -= np.repeat(gap[begins], count)
    time = first_day[client] + gap % (days - first_day[client])
    kept = np.sort(rng.choice(len(client), rows, replace=False)) if len(client) > rows else slice(None)
    client, time = client[kept], np.floor(time[kept]) + _hour_of_day(rng, rows)

    bursts = draw_bursts(rng, clients, cards, client, time, days)
    client, time, pattern = with_bursts(rng, bursts, client, time, rows)
    order = np.argsort(time, kind="stable")
    client, pattern = client[order], pattern[order]
    second = FIRST_SECOND + (time[order] * SECONDS_A_DAY).astype(np.int64)
    second[0] = FIRST_SECOND

    order = np.argsort(client, kind="stable")
    new = np.r_[True, np.diff(client[order]) != 0]
    start = np.flatnonzero(new)
    nth = np.empty(rows, np.int32)
    # An account that was opened before its first row has paid before, at the same pace.
    age = second // SECONDS_A_DAY - clients.start[client]
    older = age[order][start]
    pace = mean_gap[client[order][start]]
    earlier = np.where(older > 0, 1 + np.floor(older / pace), 0).clip(0, 300)
    nth[order] = np.arange(rows) - np.repeat(start - earlier.astype(np.int64), np.diff(np.r_[start, rows]))
    since = np.empty(rows, np.float32)
    since[order] = np.diff(second[order], prepend=0) / SECONDS_A_DAY
    since[order[start]] = np.where(older > 0, 1 + rng.exponential(pace) % np.maximum(older, 1), np.nan)
    identity = _with_identity(rng, clients.product[client], identity_share)
    return SimulationPlan(seed, clients, cards, client, second, pattern, nth, since, identity)


def _hour_of_day(rng: np.random.Generator, rows: int) -> NDArray[np.float64]:
    """Times of day in [0, 1), as a share of it."""
    total = np.r_[0, _HOURS.cumsum()] / _HOURS.sum()
    return np.interp(rng.random(rows), total, np.arange(25) / 24).clip(0, 1 - 1e-9)


def _with_identity(rng: np.random.Generator, product: NDArray[np.int8], share: float) -> Mask:
    # Exactly the share: the rows whose clocks ring first, those of W after all others.
    chance = np.array(_WITH_IDENTITY)[product]
    clock = rng.random(len(product)) - chance
    clock[chance == 0] += 2
    taken = round(share * len(product))
    identity = np.zeros(len(product), bool)
    identity[np.argpartition(clock, min(taken, len(clock) - 1))[:taken]] = True
    return identity
