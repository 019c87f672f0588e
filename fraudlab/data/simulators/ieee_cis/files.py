"""The two files, drawn and written block by block."""

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from tqdm import tqdm

from fraudlab.config.data import check_simulated_ieee_cis
from fraudlab.data.simulators.ieee_cis.clients import PRODUCTS
from fraudlab.data.simulators.ieee_cis.identity_columns import identities
from fraudlab.data.simulators.ieee_cis.plot import SimulationPlan, draw_plot
from fraudlab.data.simulators.ieee_cis.rows import draw_rows
from fraudlab.data.simulators.ieee_cis.series import add, add_labels
from fraudlab.data.simulators.ieee_cis.transaction_columns import add_clients, add_counts, add_days, add_matches
from fraudlab.data.simulators.ieee_cis.v_columns import add_v
from fraudlab.data.sources.ieee_cis_columns import IDENTITY, SIMULATED, TRANSACTION
from fraudlab.errors import UserError
from fraudlab.files import replacing

TRANSACTIONS, IDENTITIES, MARK = "train_transaction.csv", "train_identity.csv", SIMULATED
FIRST_ID = 2_987_000
TRANSACTION_COLUMNS, IDENTITY_COLUMNS = tuple(TRANSACTION), tuple(IDENTITY)

_BLOCK_ROWS = 50_000


@dataclass(frozen=True)
class Simulated:
    """What :func:`simulate` wrote; ``bytes`` counts both tables."""

    folder: Path
    rows: int
    frauds: int
    identity_rows: int
    clients: int
    days: int
    bytes: int


def simulate(
    folder: Path,
    rows: int = 590_540,
    seed: int = 0,
    identity_share: float = 0.244,
    days: int = 182,
    block_rows: int = _BLOCK_ROWS,
) -> Simulated:
    """Write ``train_transaction.csv``, ``train_identity.csv`` and ``SIMULATED`` into ``folder``.

    The same arguments give the same bytes on the same machine with the same NumPy. Every file is written aside and
    renamed when all are whole; ``SIMULATED`` takes its place first.

    Args:
        folder: made if it is not there; must hold none of the three files.
        rows: transactions, from 100 to 50 million. TransactionID counts up from 2,987,000.
        seed: at least 0.
        identity_share: share of the transactions with a row in ``train_identity.csv``, in [0, 1]; those of ProductCD
            C, H, R and S come first, so that above 0.255 some of W have one too.
        days: time span, from 7 to 3,650. TransactionDT is in seconds, ascending from 86,400.
        block_rows: rows held at a time; about 0.4 GB per 50,000. Another number gives other values in the same plot.

    Raises:
        UserError: an argument out of range, or a folder that holds files of these names already.
        OSError: the folder cannot be written, or the disk is full.
    """
    check_simulated_ieee_cis("", rows, seed, identity_share, days)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; name a folder to write to")
    if held := [name for name in (TRANSACTIONS, IDENTITIES, MARK) if (folder / name).exists()]:
        raise UserError(f"{folder} holds {', '.join(held)} already; name another folder, or remove them first")

    plot = draw_plot(rows, seed, identity_share, days)
    said = (
        "Simulated data: made up by fraudlab in the form of Kaggle's IEEE-CIS Fraud Detection files, no row is real.\n"
        f"rows={rows} seed={seed} identity_share={identity_share} days={days} block_rows={block_rows}\n"
    )
    with ExitStack() as files:
        transactions = files.enter_context(replacing(folder / TRANSACTIONS))
        identities = files.enter_context(replacing(folder / IDENTITIES))
        mark = files.enter_context(replacing(folder / MARK))
        mark.write_text(said, encoding="utf-8")
        _write(plot, transactions, identities, block_rows)
        size = transactions.stat().st_size + identities.stat().st_size
    return Simulated(
        folder,
        rows=rows,
        frauds=int((plot.pattern >= 0).sum()),
        identity_rows=int(plot.identity.sum()),
        clients=len(np.unique(plot.client)),
        days=days,
        bytes=size,
    )


def _write(plot: SimulationPlan, transactions: Path, identities: Path, block_rows: int) -> None:
    rows = len(plot.second)
    written: Future[None] | None = None
    with (
        transactions.open("wb") as transaction_file,
        identities.open("wb") as identity_file,
        ThreadPoolExecutor(1) as writer,
        tqdm(total=rows, desc="simulating", unit=" rows", unit_scale=True, mininterval=1) as bar,
    ):

        def write(transaction: pl.DataFrame, identity: pl.DataFrame, header: bool) -> None:
            transaction.write_csv(transaction_file, include_header=header)
            identity.write_csv(identity_file, include_header=header)
            bar.update(transaction.height)

        # Drawing a block and writing the block before run side by side: both spend their time outside of Python.
        for first in range(0, rows, block_rows):
            frames = _block(plot, first, min(first + block_rows, rows))
            if written:
                written.result()
            written = writer.submit(write, *frames, header=first == 0)
        if written:
            written.result()


def _block(plot: SimulationPlan, first: int, last: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The transactions from ``first`` to ``last`` (excluded) and the identity rows among them."""
    rows = draw_rows(plot, first, last)
    ids = np.arange(first, last) + FIRST_ID
    columns: dict[str, pl.Series] = {}
    add(columns, "TransactionID", ids)
    add(columns, "isFraud", (rows.pattern >= 0).astype(np.int8))
    add(columns, "TransactionDT", rows.second)
    add(columns, "TransactionAmt", rows.amount)
    add_labels(columns, "ProductCD", rows.product, PRODUCTS)
    add_clients(columns, rows, plot)
    add_counts(columns, rows)
    add_days(columns, rows, plot.clients)
    add_matches(columns, rows)
    add_v(columns, rows)
    return (
        pl.DataFrame([columns[name] for name in TRANSACTION_COLUMNS]),
        identities(rows, plot, np.flatnonzero(plot.identity[first:last]), ids),
    )
