from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from fraudlab.config import HandbookConfig, HandbookScaledConfig
from fraudlab.data.sources import handbook, handbook_scaled
from fraudlab.data.sources.contract import Source
from fraudlab.errors import UserError

SIZE = {"customers": 1000, "terminals": 2000, "days": 60, "radius": 11.0}
SEEDS = range(3)
SMALL = HandbookScaledConfig(customers=60, terminals=80, days=20, radius=20)


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    folder = tmp_path_factory.mktemp("exact")
    return pl.concat(handbook.load(HandbookConfig(seed=seed, **SIZE), folder).frame.collect() for seed in SEEDS)


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    folder = tmp_path_factory.mktemp("scaled")
    return pl.concat(
        handbook_scaled.load(HandbookScaledConfig(seed=seed, **SIZE), folder).frame.collect() for seed in SEEDS
    )


def test_daily_number_of_transactions(exact: pl.DataFrame, scaled: pl.DataFrame) -> None:
    # Three worlds of 1,000 customers at 2 a day, spread evenly between 0 and 4: the mean strays by about 1 %.
    assert scaled.height == pytest.approx(exact.height, rel=0.06)
    days = scaled["TX_TIME_DAYS"].value_counts()["count"]
    assert len(days) == SIZE["days"]
    assert days.std() == pytest.approx(days.mean() ** 0.5, rel=0.5)  # a sum of Poisson counts


def test_time_of_day(exact: pl.DataFrame, scaled: pl.DataFrame) -> None:
    shares = [
        np.bincount(frame["TX_TIME_SECONDS"].to_numpy() % 86_400 // 3600, minlength=24) / frame.height
        for frame in (exact, scaled)
    ]
    np.testing.assert_allclose(shares[1], shares[0], atol=0.002)
    for frame in (exact, scaled):
        second = frame["TX_TIME_SECONDS"] % 86_400
        assert second.min() > 0
        assert second.max() < 86_400


def test_amounts_of_genuine_transactions(exact: pl.DataFrame, scaled: pl.DataFrame) -> None:
    genuine = [frame.filter(pl.col("TX_FRAUD") == 0)["TX_AMOUNT"] for frame in (exact, scaled)]
    assert genuine[1].mean() == pytest.approx(genuine[0].mean(), rel=0.08)
    assert genuine[1].std() == pytest.approx(genuine[0].std(), rel=0.08)
    assert genuine[1].min() >= 0
    assert genuine[1].equals(genuine[1].round(2))


def test_amounts_scatter_about_a_customers_mean(tmp_path: Path) -> None:
    frame = handbook_scaled.load(HandbookScaledConfig(**SIZE), tmp_path).frame
    customers = frame.filter(pl.col("TX_FRAUD") == 0).group_by("CUSTOMER_ID")
    ratio = customers.agg(pl.col("TX_AMOUNT").std() / pl.col("TX_AMOUNT").mean(), n=pl.len()).filter(pl.col("n") > 50)
    # Normal(m, m / 2), and where that is negative U(0, 2 m): mean 1.027 m, standard deviation 0.4735 m, by integration.
    assert ratio.select("TX_AMOUNT").collect().mean().item() == pytest.approx(0.4735 / 1.027, abs=0.01)


def test_share_of_frauds_by_scenario(exact: pl.DataFrame, scaled: pl.DataFrame) -> None:
    for scenario, tolerance in ((1, 0.5), (2, 0.15), (3, 0.15)):
        shares = [(frame["TX_FRAUD_SCENARIO"] == scenario).mean() for frame in (exact, scaled)]
        assert shares[1] == pytest.approx(shares[0], rel=tolerance), f"scenario {scenario}"


def test_frauds_of_compromised_customers_have_five_times_the_amount(exact: pl.DataFrame, scaled: pl.DataFrame) -> None:
    ratio = [
        frame.filter(pl.col("TX_FRAUD_SCENARIO") == 3)["TX_AMOUNT"].mean()
        / frame.filter(pl.col("TX_FRAUD") == 0)["TX_AMOUNT"].mean()
        for frame in (exact, scaled)
    ]
    assert ratio[1] == pytest.approx(ratio[0], rel=0.15)
    assert ratio[1] == pytest.approx(5, rel=0.15)


def test_the_share_of_frauds_does_not_shrink_with_size(tmp_path: Path) -> None:
    sizes = ((5_000, 10_000, 5.0), (20_000, 40_000, 2.5))
    shares = []
    for customers, terminals, radius in sizes:
        config = HandbookScaledConfig(customers=customers, terminals=terminals, radius=radius, days=40)
        frame = handbook_scaled.load(config, tmp_path).frame
        shares.append(frame.select(pl.col("TX_FRAUD").mean()).collect().item())
    assert shares[1] == pytest.approx(shares[0], rel=0.15)


def test_a_compromised_terminal_has_only_frauds(tmp_path: Path) -> None:
    frame = handbook_scaled.load(HandbookScaledConfig(**SIZE), tmp_path).frame.collect()
    place = ["TERMINAL_ID", "TX_TIME_DAYS"]
    terminal_frauds = frame.filter(pl.col("TX_FRAUD_SCENARIO") == 2)
    assert terminal_frauds.join(frame.filter(pl.col("TX_FRAUD") == 0), on=place, how="semi").is_empty()
    runs = terminal_frauds.group_by("TERMINAL_ID").agg(
        span=pl.col("TX_TIME_DAYS").max() - pl.col("TX_TIME_DAYS").min() + 1
    )
    assert runs["span"].median() in range(20, 29)


def test_frame_and_schema_keep_the_contract(tmp_path: Path) -> None:
    source: Source = handbook_scaled.load(HandbookScaledConfig(**SIZE), tmp_path)
    frame = source.frame.collect()

    assert tuple(frame.columns) == tuple(column.name for column in source.schema.columns)
    assert source.schema.simulated
    assert source.schema.name == "handbook_scaled"
    assert frame["TRANSACTION_ID"].dtype == pl.Int64
    assert frame["TRANSACTION_ID"].to_list() == list(range(frame.height))
    assert frame["TX_DATETIME"].is_sorted()
    assert frame["TX_TIME_SECONDS"].is_sorted()
    assert (frame["TX_TIME_SECONDS"] // 86_400).equals(frame["TX_TIME_DAYS"].cast(pl.Int32).alias("TX_TIME_SECONDS"))
    same_second = frame["TX_TIME_SECONDS"].diff() == 0
    assert (frame["CUSTOMER_ID"].diff().filter(same_second) >= 0).all()


def test_draws_the_same_every_time_and_reads_the_cache(tmp_path: Path) -> None:
    first, second = (handbook_scaled.load(SMALL, tmp_path / name) for name in ("a", "b"))
    assert_frame_equal(first.frame.collect(), second.frame.collect(), check_exact=True)

    (folder,) = (tmp_path / "a").iterdir()
    before = folder.stat().st_mtime_ns
    handbook_scaled.load(SMALL, tmp_path / "a")
    assert folder.stat().st_mtime_ns == before


def test_the_seed_changes_the_data(tmp_path: Path) -> None:
    settings = {"customers": 60, "terminals": 80, "days": 20, "radius": 20.0}
    sources = [handbook_scaled.load(HandbookScaledConfig(seed=seed, **settings), tmp_path) for seed in (0, 1, -1)]
    amounts = [source.frame.select("TX_AMOUNT").collect() for source in sources]

    assert len({source.fingerprint for source in sources}) == 3
    assert not amounts[0].equals(amounts[1])
    assert not amounts[0].equals(amounts[2])


def test_one_day_has_no_compromised_party(tmp_path: Path) -> None:
    frame = handbook_scaled.load(HandbookScaledConfig(customers=600, terminals=800, days=1), tmp_path).frame.collect()
    assert frame.height
    assert set(frame["TX_FRAUD_SCENARIO"].unique()) <= {0, 1}


def test_a_folder_name_with_glob_marks(tmp_path: Path) -> None:
    cache = tmp_path / "cache [1]*"
    assert handbook_scaled.load(SMALL, cache).frame.collect().height
    assert handbook.load(HandbookConfig(customers=60, terminals=80, days=2, radius=20), cache).frame.collect().height


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"start": "tomorrow"}, "data.start=tomorrow"),
        ({"radius": 1e-9}, "within data.radius"),
        ({"customers": 10_000_000, "terminals": 1_000_000, "radius": 50.0}, "lower data.radius"),
    ],
)
def test_impossible_settings_are_named(settings: dict[str, str | float], message: str, tmp_path: Path) -> None:
    config = HandbookScaledConfig(**{"customers": 20, "terminals": 20, "days": 2, "radius": 30.0, **settings})
    with pytest.raises(UserError, match=message):
        handbook_scaled.load(config, tmp_path)
    assert not list(tmp_path.iterdir())


places = st.lists(
    st.tuples(*[st.floats(0, 100, exclude_max=True) | st.integers(0, 9).map(lambda cell: cell * 10.0)] * 2),
    min_size=1,
    max_size=30,
)


@settings(max_examples=300, deadline=None)
@given(places, places, st.floats(0.01, 150) | st.sampled_from([5.0, 10.0, 20.0, 50.0]))
def test_terminals_within_reach_are_those_of_every_distance_compared(
    customers: list[tuple[float, float]], terminals: list[tuple[float, float]], radius: float
) -> None:
    at, to = np.array(customers), np.array(terminals)
    first, found = handbook_scaled.terminals_within_reach(at, to, radius)

    near = np.square(at[:, None] - to).sum(axis=2) < radius**2
    assert len(first) == len(at) + 1
    for customer, expected in enumerate(near):
        reached = found[first[customer] : first[customer + 1]]
        assert sorted(reached.tolist()) == np.flatnonzero(expected).tolist()
