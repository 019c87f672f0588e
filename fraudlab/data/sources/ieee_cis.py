"""``data=ieee_cis``: Kaggle's IEEE-CIS Fraud Detection, read from the files that Kaggle ships.

A folder holds ``train_transaction`` and ``train_identity`` (and the test pair, if wanted) as Parquet, CSV, CSV in gzip
or zip, or both CSVs in Kaggle's own ``ieee-fraud-detection.zip``. They are read once, joined, checked and kept as one
Parquet file. A file named ``SIMULATED`` in the folder marks data from ``python -m fraudlab.simulate``.
"""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import polars as pl
from polars.exceptions import PolarsError

from fraudlab.config import IEEECISConfig
from fraudlab.data.sources.contract import Source, contents_of, fingerprint_of
from fraudlab.data.sources.ieee_cis_columns import ADDR1_LIMIT, CLIENT, REQUIRED, SIMULATED, table_schema
from fraudlab.data.sources.ieee_cis_files import Folder, Part, TableFile, damaged, listed, table_file, unpacked
from fraudlab.errors import UserError
from fraudlab.files import make_once

log = logging.getLogger(__name__)

VERSION = 2  # of the cache: raised with any change that gives other data from the same files
_GROUP = 65_536  # rows

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)


def load(config: IEEECISConfig, cache_dir: Path) -> Source:
    """The training transactions with their identity columns, read on first use and kept as Parquet in ``cache_dir``.

    Columns and types: :mod:`fraudlab.data.sources.ieee_cis_columns`, and ``client`` (Int32): 1000 * card1 + addr1 (0 if
    missing), the simplest key of a client that the columns give. Rows out of order are sorted, identity
    rows without a transaction are left out, each with a counted warning when the files are first read.

    Raises:
        UserError: a file is missing, empty, damaged or cut short; columns are missing, doubled or unknown; a value
            does not suit its column; TransactionID is doubled in a file; an id, time, amount, card1 or label is
            missing, or the label is not 0 or 1.
    """
    path, fingerprint, data_fingerprint, simulated, in_memory = _joined(config, cache_dir, "train")
    schema = table_schema(config.name, simulated)
    return Source(pl.scan_parquet(path, glob=False), schema, fingerprint, in_memory, data_fingerprint)


def load_test(config: IEEECISConfig, cache_dir: Path) -> pl.LazyFrame:
    """Kaggle's test transactions, which have no label; read, cached and validated as by :func:`load`.

    Raises:
        UserError: as for :func:`load`; or the file has a label.
    """
    return pl.scan_parquet(_joined(config, cache_dir, "test")[0], glob=False)


def _joined(config: IEEECISConfig, cache_dir: Path, part: Part) -> tuple[Path, str, str, bool, pl.DataFrame | None]:
    """The cached table of one part, both its fingerprints, whether simulated, and the table if just read and small."""
    folder = Folder(config.raw_dir)
    names = {kind: folder.find(f"{part}_{kind}") for kind in ("transaction", "identity")}
    simulated = SIMULATED in folder.names
    facts = [part, VERSION, simulated, [folder.facts(name) for name in names.values()]]
    fingerprint = fingerprint_of({"ieee_cis": facts})
    path = cache_dir / f"{config.name}_{fingerprint}.parquet"
    contents = path.with_suffix(".json")
    in_memory: pl.DataFrame | None = None

    def write(aside: Path, scratch: Path) -> None:
        nonlocal in_memory
        log.info("reading %s from %s", " and ".join(dict.fromkeys(names.values())), config.raw_dir)
        transaction, identity = (
            table_file(
                unpacked(folder.fetch(name, scratch), f"{part}_{kind}", scratch), part, kind, f"{config.raw_dir}/{name}"
            )
            for kind, name in names.items()
        )
        in_memory = _write(transaction, identity, aside, scratch)

    def write_contents(aside: Path, scratch: Path) -> None:
        aside.write_text(contents_of(folder.fetch(name, scratch) for name in dict.fromkeys(names.values())))

    if not (path.exists() and contents.exists()):
        cache_dir.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".ieee_cis_", dir=cache_dir) as scratch:
            make_once(path, lambda aside: write(aside, Path(scratch)))
            make_once(contents, lambda aside: write_contents(aside, Path(scratch)))
    data_fingerprint = fingerprint_of({"ieee_cis": [part, VERSION, simulated, contents.read_text()]})
    return path, fingerprint, data_fingerprint, simulated, in_memory


def _write(transaction: TableFile, identity: TableFile, aside: Path, scratch: Path) -> pl.DataFrame | None:
    """Join the tables, check their values, and write them to ``aside`` in order of time, then id.

    Small ones are read into memory, and given back.
    """
    try:
        identities = identity.read()
    except PolarsError as error:
        raise damaged("the identity file", error) from error
    _check_ids(identities["TransactionID"], "identity")

    first = scratch / "joined.parquet"
    try:
        if transaction.small:
            table = _joined_to(transaction.read(), identities).lazy()
        else:
            _sink(_joined_to(transaction.scan(), identities.lazy()), first)
            table = pl.scan_parquet(first, glob=False)
    except PolarsError as error:
        raise damaged("the transaction file", error) from error
    rows = table.select(*(name for name in REQUIRED if name in transaction.types), "addr1").collect()
    _check_rows(rows)
    if alone := identities.join(rows, on="TransactionID", how="anti").height:
        log.warning("%d of %d identity rows have no transaction and are left out", alone, identities.height)
    time, number = pl.col("TransactionDT").diff(), pl.col("TransactionID").diff()
    if late := rows.select(((time < 0) | ((time == 0) & (number < 0))).sum()).item():
        log.warning("%d of %d transactions follow a later one; sorted by TransactionDT", late, rows.height)
        table = table.sort("TransactionDT", "TransactionID")
    if transaction.small:
        in_memory = table.collect()
        in_memory.write_parquet(aside, compression="lz4", row_group_size=_GROUP)
        return in_memory
    if late:
        _sink(table, aside)
    else:
        first.replace(aside)
    return None


def _joined_to(transaction: Frame, identity: Frame) -> Frame:
    client = pl.col("card1") * ADDR1_LIMIT + pl.col("addr1").fill_null(0).cast(pl.Int32)
    joined = transaction.join(identity, on="TransactionID", how="left", maintain_order="left")
    return joined.with_columns(client.alias(CLIENT))


def _sink(frame: pl.LazyFrame, file: Path) -> None:
    frame.sink_parquet(file, compression="lz4", row_group_size=_GROUP)


def _check_rows(rows: pl.DataFrame) -> None:
    if rows.is_empty():
        raise UserError("the transaction file has a header but no rows; fetch or make it again")
    _check_ids(rows["TransactionID"], "transaction")
    required = rows.drop("addr1")
    for column in required:
        if column.null_count():
            raise UserError(f"{column.name} is missing in {column.null_count():,} transactions; fetch the file again")
    if "isFraud" in rows and (wrong := rows["isFraud"].filter(~rows["isFraud"].is_in([0, 1]))).len():
        raise UserError(f"isFraud must be 0 or 1 but holds {listed(map(str, wrong.unique()))}; fetch the file again")
    if not rows["addr1"].drop_nulls().is_between(0, ADDR1_LIMIT, closed="left").all():
        raise UserError(f"addr1 must lie from 0 to {ADDR1_LIMIT - 1}, as Kaggle's does; fetch the file again")


def _check_ids(ids: pl.Series, kind: str) -> None:
    if (doubled := ids.filter(ids.is_duplicated())).len():
        raise UserError(
            f"the {kind} file has {doubled.n_unique():,} TransactionIDs in more than one row, the first "
            f"{doubled[0]}; fetch or make it again"
        )
