"""``data=handbook_scaled``: the Handbook's simulation at any size: the same distributions, other draws.

What :mod:`fraudlab.data.sources.handbook` draws one transaction at a time is drawn here a day at a time, in order of
time, so that memory holds one day. Three things differ in kind:

- A transaction of a compromised customer is fraud with probability 1/3, independently, where the original picks
  exactly a third of the customer's (with its fellow victims') transactions of the 14 days.
- The terminals and customers compromised each day grow in proportion above the published 10,000 and 5,000, so that
  the share of frauds stays that of the published data.
- Streams come from ``numpy.random.SeedSequence``, one a day: a day's draws do not depend on those of other days.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from tqdm import tqdm

from fraudlab.config import HandbookScaledConfig
from fraudlab.data.sources.contract import Source, fingerprint_of
from fraudlab.data.sources.handbook import (
    CUSTOMER_DAYS,
    CUSTOMER_FACTOR,
    CUSTOMER_SHARE,
    CUSTOMERS_A_DAY,
    LARGE_AMOUNT,
    MAP_SIDE,
    MEAN_SECOND,
    SECONDS_A_DAY,
    STD_OF_MEAN_AMOUNT,
    STD_SECOND,
    TERMINAL_DAYS,
    TERMINALS_A_DAY,
    table_schema,
    transactions_frame,
)
from fraudlab.errors import UserError
from fraudlab.files import make_once

VERSION = 1  # of the generator: raised with any change that gives other data, so that no old cache is read

_PUBLISHED_CUSTOMERS, _PUBLISHED_TERMINALS = 5_000, 10_000
_PAIRS_AT_ONCE = 1 << 22  # customer-terminal distances held at a time
_MOST_PAIRS = 500_000_000  # terminals within reach, over all customers: 4 bytes each


def load(config: HandbookScaledConfig, cache_dir: Path) -> Source:
    """The simulated transactions, made on first use and kept in ``cache_dir`` as a folder of one Parquet file a day.

    Columns are those of ``data=handbook``, but for an Int64 TRANSACTION_ID.

    Raises:
        UserError: ``data.start`` is no date, the settings give no transaction at all, or customers reach so many
            terminals that the lists would not fit in memory.
    """
    fingerprint = fingerprint_of({**asdict(config), "version": VERSION})
    folder = cache_dir / f"{config.name}_{fingerprint}"
    make_once(folder, lambda aside: _simulate(config, aside))
    frame = pl.scan_parquet(sorted(folder.glob("*.parquet")), glob=False)
    return Source(frame, table_schema(config.name), fingerprint)


def terminals_within_reach(
    customers: NDArray[np.float64], terminals: NDArray[np.float64], radius: float
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The terminals nearer than ``radius`` to each customer, on the 100 x 100 map.

    ``customers`` [C, 2] and ``terminals`` [T, 2] are places. Gives ``first`` int64 [C + 1] and ``terminal`` int32:
    customer ``c`` reaches ``terminal[first[c]:first[c + 1]]``, in no particular order.
    """
    # Terminals are sorted by grid cell. A cell is a little wider than the radius, so a customer's terminals lie in its
    # own cell and the eight around it: three rows of three neighbouring cells, three slices of the sorted terminals.
    cells = int(np.clip(MAP_SIDE / (radius * 1.001), 1, 2000))
    column, row = (customers * cells / MAP_SIDE).astype(np.int64).T
    terminal_column, terminal_row = (terminals * cells / MAP_SIDE).astype(np.int64).T
    cell = terminal_row * cells + terminal_column
    by_cell = np.argsort(cell, kind="stable").astype(np.int32)
    first_of_cell = np.searchsorted(cell[by_cell], np.arange(cells**2 + 1))

    rows = row[:, None] + (-1, 0, 1)
    start = first_of_cell[rows.clip(0, cells - 1) * cells + (column - 1).clip(0)[:, None]]
    stop = first_of_cell[rows.clip(0, cells - 1) * cells + (column + 1).clip(None, cells - 1)[:, None] + 1]
    candidates = np.where((rows >= 0) & (rows < cells), stop - start, 0)

    total = candidates.sum(axis=1).cumsum()
    bounds = np.searchsorted(total, np.arange(_PAIRS_AT_ONCE, total[-1], _PAIRS_AT_ONCE))
    found, counts = [], []
    for batch in np.split(np.arange(len(customers)), np.unique(bounds)):
        n = candidates[batch].ravel()
        skip = np.repeat(start[batch].ravel() - (n.cumsum() - n), n)
        terminal = by_cell[skip + np.arange(len(skip))]
        customer = np.repeat(np.arange(len(batch)), candidates[batch].sum(axis=1))
        near = np.square(terminals[terminal] - customers[batch][customer]).sum(axis=1) < radius**2
        found.append(terminal[near])
        counts.append(np.bincount(customer[near], minlength=len(batch)))
    return np.concatenate([[0], np.concatenate(counts).cumsum()]), np.concatenate(found)


@dataclass(frozen=True)
class _World:
    # Customers who reach no terminal make no transaction and are left out of `customer` and the four beside it.
    customer: NDArray[np.int32]
    mean_amount: NDArray[np.float64]
    rate: NDArray[np.float64]
    first: NDArray[np.int64]
    reached: NDArray[np.int64]
    terminal: NDArray[np.int32]
    compromised_terminals: list[NDArray[np.int64]]  # those of each day but the last
    compromised_customers: list[NDArray[np.int64]]


def _rng(config: HandbookScaledConfig, *stream: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(config.seed % 2**64, spawn_key=stream))


def _world(config: HandbookScaledConfig) -> _World:
    reach = min(1.0, np.pi * (config.radius / MAP_SIDE) ** 2) * config.terminals
    if reach * config.customers > _MOST_PAIRS:
        raise UserError(
            f"data.radius={config.radius} puts about {reach:,.0f} terminals within the radius of each of "
            f"{config.customers:,} customers, too many to hold; lower data.radius (80 terminals each as published: "
            f"data.radius={(80 / config.terminals / np.pi) ** 0.5 * MAP_SIDE:.2g})"
        )
    people = _rng(config, 0).uniform((0, 0, 5, 0), (MAP_SIDE, MAP_SIDE, 100, 4), (config.customers, 4))
    first, terminal = terminals_within_reach(
        people[:, :2], _rng(config, 1).uniform(0, MAP_SIDE, (config.terminals, 2)), config.radius
    )
    reached = np.diff(first)
    customer = np.flatnonzero(reached).astype(np.int32)
    if not len(customer):
        raise UserError(f"no customer has a terminal within data.radius={config.radius}; raise it")

    draws = _rng(config, 2)
    some_terminals = max(TERMINALS_A_DAY, round(TERMINALS_A_DAY * config.terminals / _PUBLISHED_TERMINALS))
    some_customers = max(CUSTOMERS_A_DAY, round(CUSTOMERS_A_DAY * config.customers / _PUBLISHED_CUSTOMERS))
    return _World(
        customer=customer,
        mean_amount=people[customer, 2],
        rate=people[customer, 3],
        first=first[customer],
        reached=reached[customer],
        terminal=terminal,
        compromised_terminals=[
            draws.choice(config.terminals, some_terminals, replace=False) for _ in range(config.days - 1)
        ],
        compromised_customers=[
            draws.choice(config.customers, some_customers, replace=False) for _ in range(config.days - 1)
        ],
    )


def _simulate(config: HandbookScaledConfig, folder: Path) -> None:
    folder.mkdir()
    world = _world(config)
    made = 0
    written: Future[None] | None = None
    # Drawing a day and writing the day before run side by side: each takes about as long.
    with ThreadPoolExecutor(1) as writer, tqdm(range(config.days), "simulating", unit=" days", mininterval=1) as days:
        for day in days:
            frame = _day(config, world, day, made)
            made += frame.height
            if written:
                written.result()
            written = writer.submit(frame.write_parquet, folder / f"{day:05d}.parquet", compression="lz4")
            days.set_postfix_str(f"{made:,} transactions", refresh=False)
        if written:
            written.result()
    if not made:
        raise UserError("these settings give no transaction; raise data.customers or data.days")


def _day(config: HandbookScaledConfig, world: _World, day: int, made: int) -> pl.DataFrame:
    draws = _rng(config, 3, day)
    who = np.repeat(np.arange(len(world.customer)), draws.poisson(world.rate))
    drawn = MEAN_SECOND + STD_SECOND * draws.standard_normal(len(who), np.float32)
    # One sort key of second and position: its order is that of a stable sort, at the speed of a plain one.
    kept = np.flatnonzero((drawn >= 1) & (drawn < SECONDS_A_DAY))
    order = np.sort(drawn[kept].astype(np.int64) << 32 | kept)
    second, who = order >> 32, who[order & 0xFFFFFFFF]
    rows = len(who)

    mean = world.mean_amount[who]
    amount = mean * (1 + STD_OF_MEAN_AMOUNT * draws.standard_normal(rows, np.float32))
    negative = np.flatnonzero(amount < 0)
    amount[negative] = draws.uniform(0, 2 * mean[negative])
    amount = amount.round(2)

    # In float64: the product of two float32 could round up to the count itself.
    nth = (draws.random(rows, np.float32).astype(np.float64) * world.reached[who]).astype(np.int64)
    terminal = world.terminal[world.first[who] + nth]
    customer = world.customer[who]

    scenario = (amount > LARGE_AMOUNT).astype(np.int8)
    victims = np.zeros(config.terminals, bool)
    for compromised in world.compromised_terminals[max(0, day - TERMINAL_DAYS + 1) : day + 1]:
        victims[compromised] = True
    scenario[victims[terminal]] = 2

    times = np.zeros(config.customers, np.int64)  # a customer compromised twice over can be hit twice over
    for compromised in world.compromised_customers[max(0, day - CUSTOMER_DAYS + 1) : day + 1]:
        times[compromised] += 1
    exposed = np.flatnonzero(times[customer])
    hits = draws.binomial(times[customer[exposed]], 1 / CUSTOMER_SHARE)
    amount[exposed] *= np.power(CUSTOMER_FACTOR, hits)
    scenario[exposed[hits > 0]] = 3

    ids = np.arange(made, made + rows, dtype=np.int64)
    return transactions_frame(config, ids, customer, terminal, day * SECONDS_A_DAY + second, amount, scenario)
