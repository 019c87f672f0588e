"""``data=handbook``: the simulated card transactions of the Fraud Detection Handbook, drawn again.

Source: Le Borgne, Siblini, Lebichot, Bontempi, *Reproducible Machine Learning for Credit Card Fraud Detection*,
chapter 3, "Transaction data simulator". The default settings give the published data set: the same 1,754,155
transactions with the same amounts and frauds. Only TRANSACTION_ID differs, and only between transactions of the same
second: the published numbering came from a sort that leaves the order of equals to the machine, so here such
transactions stand by customer, then in the order they were drawn.
"""

import random
from array import array
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from tqdm import tqdm

from fraudlab.config import HandbookConfig
from fraudlab.data.sources.contract import Source, fingerprint_of
from fraudlab.errors import UserError
from fraudlab.files import make_once
from fraudlab.schema import Column, TableSchema

VERSION = 1  # of the generator: raised with any change that gives other data, so that no old cache is read

MAP_SIDE = 100.0
SECONDS_A_DAY = 86_400
MEAN_SECOND, STD_SECOND = 43_200, 20_000  # time of day of a transaction, before those outside the day are dropped
STD_OF_MEAN_AMOUNT = 0.5  # standard deviation of a customer's amounts, as a share of their mean

LARGE_AMOUNT = 220.0  # scenario 1: a larger amount is fraud
TERMINALS_A_DAY, TERMINAL_DAYS = 2, 28  # scenario 2: terminals compromised each day, and for how long
CUSTOMERS_A_DAY, CUSTOMER_DAYS = 3, 14  # scenario 3: customers compromised each day, and for how long
CUSTOMER_SHARE, CUSTOMER_FACTOR = 3, 5  # scenario 3: one in 3 of their transactions is fraud, with 5 times the amount


def load(config: HandbookConfig, cache_dir: Path) -> Source:
    """The simulated transactions, made on first use (about 15 s by default) and kept as Parquet in ``cache_dir``.

    Raises:
        UserError: ``data.start`` is no date, or the settings give no transaction at all.
    """
    fingerprint = fingerprint_of({**asdict(config), "version": VERSION})
    path = cache_dir / f"{config.name}_{fingerprint}.parquet"
    make_once(path, lambda aside: simulate(config).write_parquet(aside))
    return Source(pl.scan_parquet(path, glob=False), table_schema(config.name), fingerprint)


def table_schema(name: str) -> TableSchema:
    """Columns of the simulated transactions, named as published; the scenario (0 = genuine) is never an input."""
    return TableSchema(
        name,
        (
            Column("TRANSACTION_ID", "integer", "id", minimum=0),
            Column("TX_DATETIME", "datetime", "time"),
            Column("CUSTOMER_ID", "integer", "card", minimum=0),
            Column("TERMINAL_ID", "integer", "terminal", minimum=0),
            Column("TX_AMOUNT", "number", "amount", minimum=0),
            Column("TX_TIME_SECONDS", "integer", "carried", minimum=0),
            Column("TX_TIME_DAYS", "integer", "carried", minimum=0),
            Column("TX_FRAUD", "integer", "label", minimum=0, maximum=1),
            Column("TX_FRAUD_SCENARIO", "integer", "carried", minimum=0, maximum=3),
        ),
        simulated=True,
    )


def transactions_frame(
    config: HandbookConfig,
    ids: NDArray[Any],
    customer: NDArray[Any],
    terminal: NDArray[Any],
    second: NDArray[Any],
    amount: NDArray[np.float64],
    scenario: NDArray[np.int8],
) -> pl.DataFrame:
    """The table of ``table_schema`` from arrays of one length; ``second`` counts from ``data.start``.

    Raises:
        UserError: ``data.start`` is no ISO date.
    """
    try:
        start = np.datetime64(date.fromisoformat(config.start), "us")
    except ValueError as error:
        raise UserError(f"data.start={config.start} is not a date; write it as 2018-04-01") from error
    return pl.DataFrame(
        {
            "TRANSACTION_ID": ids,
            "TX_DATETIME": start + second.astype("timedelta64[s]"),
            "CUSTOMER_ID": customer.astype(np.int32),
            "TERMINAL_ID": terminal.astype(np.int32),
            "TX_AMOUNT": amount,
            "TX_TIME_SECONDS": second.astype(np.int32),
            "TX_TIME_DAYS": (second // SECONDS_A_DAY).astype(np.int16),
            "TX_FRAUD": (scenario > 0).astype(np.int8),
            "TX_FRAUD_SCENARIO": scenario,
        }
    )


def simulate(config: HandbookConfig) -> pl.DataFrame:
    """Draw all transactions of ``config``, in order of time, with a progress bar on stderr.

    Raises:
        UserError: ``data.start`` is no date, or the settings give no transaction at all.
    """
    customer, terminal, second, amount = _genuine(config)
    if not len(second):
        raise UserError("these settings give no transaction; raise data.customers, data.days or data.radius")
    order = np.argsort(second, kind="stable")
    customer, terminal, second, amount = customer[order], terminal[order], second[order], amount[order]
    scenario = _add_frauds(config, customer, terminal, second // SECONDS_A_DAY, amount)
    return transactions_frame(
        config, np.arange(len(second), dtype=np.int32), customer, terminal, second, amount, scenario
    )


def _seed(config: HandbookConfig, stream: int) -> int:
    # data.seed=0 must give the bare stream number, as published.
    return (stream + config.seed * 1_000_003) % 2**32


def _legacy(seed: int) -> np.random.RandomState:
    # The published data come from NumPy's legacy draws; an instance gives those of the global state.
    return np.random.RandomState(seed)


def _genuine(
    config: HandbookConfig,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    # Customer, terminal, second and amount of each transaction, customer by customer. The order of the draws is what
    # makes the data the published ones: nothing here may be vectorised or reordered.
    high = (MAP_SIDE, MAP_SIDE, 100, 4)  # place x and y, mean amount, mean transactions a day
    people = _legacy(_seed(config, 0)).uniform((0, 0, 5, 0), high, (config.customers, 4))
    places = _legacy(_seed(config, 1)).uniform(0, MAP_SIDE, (config.terminals, 2))

    customers, terminals, seconds, amounts = array("i"), array("i"), array("i"), array("d")
    numpy_draws, python_draws = _legacy(0), random.Random()  # noqa: S311 - no secret
    normal, uniform, poisson = numpy_draws.normal, numpy_draws.uniform, numpy_draws.poisson
    for customer, (x, y, mean, rate) in enumerate(
        tqdm(people.tolist(), "simulating", unit=" customers", mininterval=1)
    ):
        within_reach = np.sqrt(np.square(places - (x, y)).sum(axis=1)) < config.radius
        reachable = np.flatnonzero(within_reach).tolist()
        if not reachable:
            continue
        numpy_draws.seed(_seed(config, customer))
        python_draws.seed(_seed(config, customer))
        for midnight in range(0, config.days * SECONDS_A_DAY, SECONDS_A_DAY):
            for _ in range(poisson(rate)):
                second = int(normal(MEAN_SECOND, STD_SECOND))
                if 0 < second < SECONDS_A_DAY:
                    amount = normal(mean, mean * STD_OF_MEAN_AMOUNT)
                    amounts.append(amount if amount >= 0 else uniform(0, 2 * mean))
                    seconds.append(midnight + second)
                    terminals.append(python_draws.choice(reachable))
                    customers.append(customer)
    return (
        np.array(customers, np.int32),
        np.array(terminals, np.int32),
        np.array(seconds, np.int32),
        np.array(amounts, np.float64).round(2),
    )


def _add_frauds(
    config: HandbookConfig,
    customer: NDArray[np.int32],
    terminal: NDArray[np.int32],
    day: NDArray[np.int32],
    amount: NDArray[np.float64],
) -> NDArray[np.int8]:
    # The scenario of each transaction (0 = genuine), all sorted by day; raises the amounts of scenario 3 in place.
    # A later scenario overwrites an earlier one.
    scenario = (amount > LARGE_AMOUNT).astype(np.int8)
    last = int(day[-1])
    first_row = np.searchsorted(day, np.arange(last + CUSTOMER_DAYS + TERMINAL_DAYS))
    for first in range(last):
        rows = slice(first_row[first], first_row[first + TERMINAL_DAYS])
        compromised = _legacy(_seed(config, first)).choice(config.terminals, TERMINALS_A_DAY, replace=False)
        scenario[rows][np.isin(terminal[rows], compromised)] = 2
    for first in range(last):
        rows = slice(first_row[first], first_row[first + CUSTOMER_DAYS])
        compromised = _legacy(_seed(config, first)).choice(config.customers, CUSTOMERS_A_DAY, replace=False)
        theirs = np.flatnonzero(np.isin(customer[rows], compromised))
        draws = random.Random(_seed(config, first))  # noqa: S311 - no secret
        chosen = theirs[draws.sample(range(len(theirs)), len(theirs) // CUSTOMER_SHARE)]
        amount[rows][chosen] *= CUSTOMER_FACTOR
        scenario[rows][chosen] = 3
    return scenario
