"""Who is compromised, when and how: frauds come in bursts of one client, and their kinds shift over the months."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fraudlab.data.simulators.ieee_cis.clients import EMAILS, Cards, Clients

FRAUD_RATE = 0.035
PATTERNS = ("testing", "takeover", "new_account", "proxy", "friendly")

_PRODUCT_RISK = (0.60, 3.3, 1.1, 1.4, 1.7)  # chance of being compromised, against the average's
_RISKY_EMAILS = {"protonmail.com": 9.0, "mail.com": 5.0, "outlook.es": 3.5, "outlook.com": 2.6, "aim.com": 3.5}
_SAFE_EMAILS = {"yahoo.com": 0.7, "aol.com": 0.65, "comcast.net": 0.8, "anonymous.com": 0.75, "att.net": 0.4}
_MONTH_RATE = (0.66, 1.15, 1.20, 1.20, 1.30, 1.30)  # of compromise, against the average's; month by month, repeated
_MIX = (  # of PATTERNS, month by month
    (0.40, 0.22, 0.16, 0.08, 0.14),
    (0.34, 0.24, 0.18, 0.10, 0.14),
    (0.22, 0.30, 0.20, 0.14, 0.14),
    (0.16, 0.26, 0.28, 0.16, 0.14),
    (0.12, 0.22, 0.28, 0.24, 0.14),
    (0.10, 0.20, 0.26, 0.30, 0.14),
)
_AFFINITY = np.array(  # of a product (row) to a pattern (column)
    (
        *((0.5, 1.3, 1.0, 0.5, 1.4), (2.0, 0.5, 0.8, 1.6, 0.5), (0.5, 1.0, 1.6, 1.0, 1.0)),
        *((0.5, 1.0, 1.5, 1.2, 1.0), (1.3, 0.8, 1.0, 1.2, 0.6)),
    )
)


@dataclass(frozen=True)
class Bursts:
    """One value a compromised client, in the order in which they were found."""

    client: NDArray[np.int32]
    begin: NDArray[np.float64]
    end: NDArray[np.float64]
    pattern: NDArray[np.int8]
    more: NDArray[np.int64]  # transactions that the fraudster adds


def draw_bursts(
    rng: np.random.Generator,
    clients: Clients,
    cards: Cards,
    client: NDArray[np.int32],
    time: NDArray[np.float64],
    days: int,
) -> Bursts:
    """Clients that could be compromised, ordered at random by risk; the caller takes as many as it needs."""
    domains = [*EMAILS]
    email_risk = np.array([{**_RISKY_EMAILS, **_SAFE_EMAILS}.get(domain, 1.0) for domain in domains])
    month = (time / 30.4).astype(np.int64)
    risk = (
        np.array(_PRODUCT_RISK)[clients.product[client]]
        * email_risk[clients.email[client]]
        * np.where(cards.credit[clients.card[client]], 1.7, 0.8)
        * np.where(np.floor(time) + 1 == clients.start[client], 1.6, 0.8)
        * np.exp(0.35 * clients.habit[client, 1])
        * np.array(_MONTH_RATE)[month % len(_MONTH_RATE)]
    )
    # The earliest of exponential clocks: rows drawn without replacement in proportion to their risk.
    clock = rng.exponential(1 / risk)
    some = min(len(clock), max(50, len(clock) // 12))
    drawn = np.argpartition(clock, some - 1)[:some]
    drawn = drawn[np.argsort(clock[drawn], kind="stable")]
    drawn = drawn[np.sort(np.unique(client[drawn], return_index=True)[1])]

    who, begin = client[drawn], time[drawn]
    mix = np.array(_MIX)[(month[drawn]).clip(0, len(_MIX) - 1)] * _AFFINITY[clients.product[who]]
    pattern = (rng.random(len(who))[:, None] * mix.sum(axis=1, keepdims=True) > mix.cumsum(axis=1)).sum(axis=1)
    length = (1 + rng.exponential(2.0, len(who))).clip(0, 9)
    return Bursts(
        client=who,
        begin=begin,
        end=np.minimum(begin + length, days - 1e-6),
        pattern=pattern.clip(0, len(PATTERNS) - 1).astype(np.int8),
        more=rng.geometric(np.where(pattern == 0, 0.30, 0.45)) - 1,
    )


def with_bursts(
    rng: np.random.Generator, bursts: Bursts, client: NDArray[np.int32], time: NDArray[np.float64], rows: int
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.int8]]:
    """Clients, times and patterns of ``rows`` transactions, as many of them frauds as :data:`FRAUD_RATE` says."""
    clients = int(client.max()) + 1
    begin, end = np.full(clients, np.inf), np.full(clients, -np.inf)
    begin[bursts.client], end[bursts.client] = bursts.begin, bursts.end
    fraud = (time >= begin[client]) & (time <= end[client])
    there = np.bincount(client[fraud], minlength=clients)[bursts.client]
    wanted = max(1, round(FRAUD_RATE * rows))
    taken = int(np.searchsorted((there + bursts.more).cumsum(), wanted)) + 1

    kind = np.full(clients, -1, np.int8)
    kind[bursts.client[:taken]] = bursts.pattern[:taken]
    pattern = np.where(fraud, kind[client], np.int8(-1))
    more = bursts.more[:taken].copy()
    if taken == len(more):  # else there are too few to reach it
        more[-1] -= min(more[-1], (there + bursts.more)[:taken].sum() - wanted)
    added = np.repeat(np.arange(len(more)), more)
    span = (bursts.end - bursts.begin)[added]
    later = bursts.begin[added] + span * rng.random(len(added)) ** 1.5  # most of them soon after the first

    # Genuine transactions make room for those of the fraudsters.
    genuine = np.flatnonzero(pattern < 0)
    kept = np.ones(len(client), bool)
    kept[rng.choice(genuine, len(client) + len(added) - rows, replace=False)] = False
    return (
        np.concatenate([client[kept], bursts.client[added]]),
        np.concatenate([time[kept], later]),
        np.concatenate([pattern[kept], bursts.pattern[added]]),
    )
