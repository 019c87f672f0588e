"""The simulated IEEE-CIS files have the form of Kaggle's, and the traits that make fraud detection what it is."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fraudlab.data.simulators.ieee_cis import (
    IDENTITY_COLUMNS,
    TRANSACTION_COLUMNS,
    V_BLOCKS,
    Simulated,
    files,
    simulate,
)
from fraudlab.errors import UserError

ROWS = 20_000
DAY = 86_400


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    return simulate(tmp_path_factory.mktemp("simulated"), rows=ROWS, seed=3)


@pytest.fixture(scope="module")
def transactions(made: Simulated) -> pl.DataFrame:
    return pl.read_csv(made.folder / "train_transaction.csv", infer_schema_length=None)


@pytest.fixture(scope="module")
def identities(made: Simulated) -> pl.DataFrame:
    return pl.read_csv(made.folder / "train_identity.csv", infer_schema_length=None)


@pytest.fixture(scope="module")
def sample(shared_data: Path) -> Path:
    """The first rows of Kaggle's files."""
    folder = shared_data / "ieee_cis_sample"
    if not folder.is_dir():
        pytest.skip("no sample of the real data")
    return folder


# ----------------------------------------------------------------------------------------------------- form


def test_there_are_394_and_41_columns(transactions: pl.DataFrame, identities: pl.DataFrame) -> None:
    assert (len(TRANSACTION_COLUMNS), len(IDENTITY_COLUMNS)) == (394, 41)
    assert tuple(transactions.columns) == TRANSACTION_COLUMNS
    assert tuple(identities.columns) == IDENTITY_COLUMNS


@pytest.mark.parametrize("name", ["train_transaction.csv", "train_identity.csv"])
def test_headers_are_kaggles(made: Simulated, sample: Path, name: str) -> None:
    ours, theirs = (folder / name for folder in (made.folder, sample))
    with ours.open() as a, theirs.open() as b:
        assert a.readline() == b.readline()


def test_types_are_kaggles(transactions: pl.DataFrame, identities: pl.DataFrame, sample: Path) -> None:
    real = pl.read_csv(sample / "train_transaction.csv", infer_schema_length=None)
    assert dict(transactions.schema) == dict(real.schema)
    assert dict(identities.schema) == dict(pl.read_parquet_schema(sample / "train_identity_full.parquet"))


@pytest.mark.parametrize("name", ["ProductCD", "card4", "card6", *(f"M{n}" for n in range(1, 10))])
def test_categories_are_kaggles(transactions: pl.DataFrame, sample: Path, name: str) -> None:
    real = pl.read_csv(sample / "train_transaction.csv", columns=[name])[name]
    assert set(real.drop_nulls()) <= set(transactions[name].drop_nulls())
    assert transactions[name].n_unique() <= 5


@pytest.mark.parametrize(
    "name",
    [*(f"id_{n}" for n in (12, 15, 16, 23, 27, 28, 29, 34, 35, 36, 37, 38)), "DeviceType"],
)
def test_identity_categories_are_kaggles(identities: pl.DataFrame, sample: Path, name: str) -> None:
    real = pl.read_parquet(sample / "train_identity_full.parquet", columns=[name])[name]
    assert set(identities[name].drop_nulls()) <= set(real.drop_nulls())
    assert identities[name].n_unique() >= 2


def test_cells_are_written_as_kaggles(made: Simulated) -> None:
    lines = (made.folder / "train_transaction.csv").read_text().splitlines()
    first = dict(zip(TRANSACTION_COLUMNS, lines[1].split(","), strict=True))
    assert (first["TransactionID"], first["TransactionDT"]) == ("2987000", "86400")
    assert first["isFraud"] in ("0", "1")
    assert first["card1"].isdigit()  # a whole number
    assert first["C1"].endswith(".0")
    assert {"", "nan"} & set(first.values()) == {""}  # an empty cell is a missing value
    text = (made.folder / "train_identity.csv").read_text()
    assert "NaN" not in text
    assert ",-0.0," not in text


def test_transactions_are_in_order_of_time(transactions: pl.DataFrame) -> None:
    assert transactions["TransactionID"].to_list() == list(range(2_987_000, 2_987_000 + ROWS))
    seconds = transactions["TransactionDT"]
    assert seconds.is_sorted()
    assert seconds[0] == DAY
    assert 180 * DAY < seconds[-1] < 183 * DAY
    hours = np.bincount(seconds.to_numpy() // 3600 % 24, minlength=24)
    assert hours.max() > 5 * hours.min()


def test_identity_rows_are_of_the_share_asked_for(transactions: pl.DataFrame, identities: pl.DataFrame) -> None:
    assert len(identities) == round(0.244 * ROWS)
    assert identities["TransactionID"].is_sorted()
    assert identities["TransactionID"].is_unique().all()
    joined = transactions.join(identities, on="TransactionID", how="semi")
    assert len(joined) == len(identities)
    assert "W" not in set(joined["ProductCD"])
    assert identities["DeviceInfo"].n_unique() > 200
    assert identities["id_31"].n_unique() > 40


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_any_share_of_identity_rows(tmp_path: Path, share: float) -> None:
    made = simulate(tmp_path, rows=300, identity_share=share)
    assert len(pl.read_csv(tmp_path / "train_identity.csv")) == made.identity_rows == round(300 * share)


@pytest.mark.parametrize("block_rows", [999, 1000, 10_000])
def test_blocks_of_any_size_give_all_rows(tmp_path: Path, block_rows: int) -> None:
    made = simulate(tmp_path, rows=2_000, block_rows=block_rows)
    frame = pl.read_csv(tmp_path / "train_transaction.csv", columns=["TransactionID", "TransactionDT", "isFraud"])
    assert frame["TransactionID"].to_list() == list(range(2_987_000, 2_989_000))
    assert frame["TransactionDT"].is_sorted()
    assert frame["isFraud"].sum() == made.frauds


def test_a_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder, seed in (("a", 5), ("b", 5), ("c", 6)):
        simulate(tmp_path / folder, rows=1_500, seed=seed, block_rows=700)
    for name in ("train_transaction.csv", "train_identity.csv", "SIMULATED"):
        a, b, c = ((tmp_path / folder / name).read_bytes() for folder in "abc")
        assert a == b
        assert a != c


# --------------------------------------------------------------------------------------------------- traits


def test_fraud_rate_is_the_real_one_and_shifts_between_months(transactions: pl.DataFrame, made: Simulated) -> None:
    assert made.frauds == transactions["isFraud"].sum()
    assert transactions["isFraud"].mean() == pytest.approx(0.035, abs=0.001)
    month = (transactions["TransactionDT"] - DAY) // int(30.4 * DAY)
    rate = (
        transactions.group_by(month.alias("month")).agg(pl.col("isFraud").mean(), pl.len()).filter(pl.col("len") > 500)
    )
    assert rate["isFraud"].max() > 1.2 * rate["isFraud"].min()
    rates = dict(transactions.group_by("ProductCD").agg(pl.col("isFraud").mean()).rows())
    assert rates["C"] > 3 * rates["W"]


def test_kinds_of_fraud_shift_between_months(transactions: pl.DataFrame) -> None:
    fraud = transactions.filter(isFraud=1)
    early, late = fraud.head(len(fraud) // 4), fraud.tail(len(fraud) // 4)
    # Card testing, in small amounts at C, gives way to others.
    assert (early["ProductCD"] == "C").mean() > (late["ProductCD"] == "C").mean()


def accounts(transactions: pl.DataFrame) -> pl.DataFrame:
    """Transactions with the account as Kaggle's winners found it: card, address and the day that D1 counts from."""
    day = pl.col("TransactionDT") // DAY
    return transactions.filter(pl.col("D1").is_not_null()).with_columns(
        pl.struct("card1", "addr1", "P_emaildomain", (day - pl.col("D1")).alias("start")).alias("account"),
        day.alias("day"),
    )


def test_clients_return_and_their_d1_counts_the_days(transactions: pl.DataFrame) -> None:
    seen = accounts(transactions)
    assert seen["account"].n_unique() < 0.7 * len(seen)
    # So the columns drift: what is counted from the past grows as time goes by.
    third = len(transactions) // 3
    for name in ("D1", "D4", "D10", "D15"):
        assert transactions[name].tail(third).mean() > 1.08 * transactions[name].head(third).mean()
    assert transactions.filter(pl.col("D2").is_not_null()).select((pl.col("D1") == pl.col("D2")).all()).item()


def test_frauds_of_a_client_come_in_a_burst(transactions: pl.DataFrame) -> None:
    span = (
        accounts(transactions)
        .group_by("account", "isFraud")
        .agg(pl.len(), (pl.col("day").max() - pl.col("day").min()).alias("days"))
        .filter(pl.col("len") > 1)
    )
    fraud, genuine = span.filter(isFraud=1), span.filter(isFraud=0)
    assert fraud["len"].sum() > 0.5 * transactions["isFraud"].sum()
    assert fraud["days"].max() <= 10
    assert genuine["days"].mean() > 3 * fraud["days"].mean()


def test_columns_of_a_v_block_are_missing_together(transactions: pl.DataFrame) -> None:
    assert sorted(number for block in V_BLOCKS for number in block) == list(range(1, 340))
    masks = set()
    for block in V_BLOCKS:
        empty = [transactions[f"V{number}"].is_null() for number in block]
        assert all((empty[0] == other).all() for other in empty[1:])
        masks.add(empty[0].to_numpy().tobytes())
    assert len(masks) == len(V_BLOCKS)
    for v, d in (("V1", "D11"), ("V35", "D4"), ("V281", "D1"), ("V1", "M1")):
        assert (transactions[v].is_null() == transactions[d].is_null()).all()


def test_v_blocks_of_the_real_rows_are_those_made(transactions: pl.DataFrame, sample: Path) -> None:
    real = pl.read_csv(sample / "train_transaction.csv", infer_schema_length=None)
    for block in V_BLOCKS:
        empty = [real[f"V{number}"].is_null() for number in block]
        assert all((empty[0] == other).all() for other in empty[1:])


def test_as_much_is_missing_as_in_the_real_data(transactions: pl.DataFrame) -> None:
    cells = len(transactions) * (len(TRANSACTION_COLUMNS) - 1)
    assert sum(transactions.null_count().row(0)) / cells == pytest.approx(0.41, abs=0.04)


# ------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize("name", ["train_transaction.csv", "train_identity.csv", "SIMULATED"])
def test_a_folder_that_holds_such_files_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=f"holds {name} already"):
        simulate(tmp_path, rows=100)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_file_for_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        simulate(tmp_path / "file", rows=100)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ({"rows": 99}, "rows=99 is out of range"),
        ({"rows": 50_000_001}, "rows=50000001 is out of range"),
        ({"days": 6}, "days=6 is out of range"),
        ({"identity_share": 1.1}, "identity_share=1.1 is out of range"),
        ({"seed": -1}, "seed=-1 is too small"),
    ],
)
def test_arguments_out_of_range_are_refused(tmp_path: Path, argument: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        simulate(tmp_path / "new", **argument)
    assert not (tmp_path / "new").exists()


def test_an_error_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = files._block

    def fails(plot, first, last):
        if first:
            raise OSError(28, "No space left on device")
        return block(plot, first, last)

    monkeypatch.setattr(files, "_block", fails)
    with pytest.raises(OSError, match="No space"):
        simulate(tmp_path, rows=300, block_rows=100)
    assert not list(tmp_path.iterdir())


def test_the_smallest_runs(tmp_path: Path) -> None:
    for seed in range(5):
        made = simulate(tmp_path / str(seed), rows=100, days=7, seed=seed)
        frame = pl.read_csv(tmp_path / str(seed) / "train_transaction.csv", infer_schema_length=None)
        assert len(frame) == 100
        assert frame["TransactionDT"].max() < 8 * DAY
        assert 1 <= made.frauds == frame["isFraud"].sum()
