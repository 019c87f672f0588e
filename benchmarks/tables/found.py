"""Tables found: Adult, vehicle claims, the Handbook's transactions, where their files are; simulated IEEE-CIS."""

import os
import tempfile
from pathlib import Path

import polars as pl

PLACE = Path(os.environ.get("FRAUDLAB_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
ADULT, VEHICLE, HANDBOOK = "adult/adult.parquet", "vehicle_claims/fraud_oracle.parquet", "handbook/transactions.parquet"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def adult(seed: int) -> pl.DataFrame:
    """UCI Adult: half of the rows, another half for each seed."""
    frame = pl.read_parquet(PLACE / ADULT).sample(16_000, seed=seed)
    numbers = ("age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week")
    fraud = (pl.col("income") == ">50K").cast(int).alias("fraud")
    return frame.with_columns(pl.col(numbers).cast(float), fraud).drop("income")


def vehicle(seed: int) -> pl.DataFrame:
    """Car insurance claims of three years, split in time: nine tenths of the rows, others for each seed."""
    frame = pl.read_parquet(PLACE / VEHICLE).sample(fraction=0.9, seed=seed)
    frame = frame.filter(pl.col("Month").is_in(_MONTHS))
    month = pl.col("Month").replace_strict({name: n + 1 for n, name in enumerate(_MONTHS)}, return_dtype=pl.Int64)
    when = pl.datetime(pl.col("Year"), month, 1) + pl.duration(days=7 * (pl.col("WeekOfMonth") - 1))
    frame = frame.with_columns(when.alias("when"), pl.col("FraudFound_P").alias("fraud"))
    return frame.drop("FraudFound_P", "PolicyNumber", "Year").sort("when", maintain_order=True)


def handbook(seed: int, terminals: int, days: int, genuine: float) -> pl.DataFrame:
    """The Handbook's raw columns: some terminals' transactions of some days, of the genuine ones a share only."""
    table = pl.scan_parquet(PLACE / HANDBOOK)
    first = 30 + 11 * (seed % 8)
    chosen = pl.Series(range(10_000)).sample(terminals, seed=seed).implode()
    day = pl.col("TX_TIME_DAYS").cast(pl.Int64)
    table = table.filter(day.is_between(first, first + days - 1), pl.col("TERMINAL_ID").cast(pl.Int64).is_in(chosen))
    frame = table.sort("TX_DATETIME").collect()
    kept = pl.Series("kept", range(len(frame))).hash(seed) % 1000 < round(1000 * genuine)
    frame = frame.filter(kept | (frame["TX_FRAUD"] == 1))
    return frame.select(
        "TX_AMOUNT", "CUSTOMER_ID", "TERMINAL_ID",
        pl.col("TX_DATETIME").alias("when"), pl.col("TX_FRAUD").alias("fraud"),
    )  # fmt: skip


def ieee_cis(seed: int) -> pl.DataFrame:
    """12,000 simulated transactions in the form of IEEE-CIS, 155 of their columns."""
    from fraudlab.data.simulators.ieee_cis import TRANSACTIONS, simulate

    with tempfile.TemporaryDirectory() as folder:
        simulate(Path(folder), 12_000, seed)
        frame = pl.read_csv(Path(folder) / TRANSACTIONS, infer_schema_length=None)
    left_out = [f"V{n}" for n in range(101, 340)]
    return frame.drop("TransactionID", *left_out).rename({"isFraud": "fraud"})


IEEE_CIS_WORDS = ("ProductCD", "card1", "card2", "card3", "card4", "card5", "card6", "addr1", "addr2", "P_emaildomain",
                  "R_emaildomain", *(f"M{n}" for n in range(1, 10)))  # fmt: skip
