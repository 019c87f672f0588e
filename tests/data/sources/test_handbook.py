import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fraudlab.config import HandbookConfig
from fraudlab.data.sources import handbook
from fraudlab.errors import UserError

SMALL = HandbookConfig(customers=60, terminals=80, days=20, radius=20)


def test_the_default_is_the_published_data_set(shared_data: Path, tmp_path: Path) -> None:
    published = pl.read_parquet(shared_data / "handbook" / "transactions.parquet")
    ours = handbook.load(HandbookConfig(), tmp_path).frame.collect()

    assert ours.schema == published.schema
    scenarios = ours["TX_FRAUD_SCENARIO"].value_counts().sort("TX_FRAUD_SCENARIO").rows()
    assert scenarios == [(0, 1_754_155 - 973 - 9_077 - 4_631), (1, 973), (2, 9_077), (3, 4_631)]
    # Every row to the last bit of its amount; only numbers within one second may be dealt out otherwise.
    order = ["TX_TIME_SECONDS", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT"]
    ours, published = ours.sort(order), published.sort(order)
    assert_frame_equal(ours.drop("TRANSACTION_ID"), published.drop("TRANSACTION_ID"), check_exact=True)
    alone = ~ours["TX_TIME_SECONDS"].is_duplicated()
    assert ours.filter(alone)["TRANSACTION_ID"].equals(published.filter(alone)["TRANSACTION_ID"])


def test_draws_the_same_every_time(tmp_path: Path) -> None:
    first, second = (handbook.load(SMALL, tmp_path / name) for name in ("a", "b"))

    assert first.fingerprint == second.fingerprint
    assert_frame_equal(first.frame.collect(), second.frame.collect(), check_exact=True)


def test_the_second_load_reads_the_cache(tmp_path: Path) -> None:
    handbook.load(SMALL, tmp_path)
    (made,) = tmp_path.iterdir()
    before = made.stat().st_mtime_ns
    handbook.load(SMALL, tmp_path)

    assert [made] == list(tmp_path.iterdir())
    assert made.stat().st_mtime_ns == before


@pytest.mark.parametrize("change", [{"seed": 1}, {"seed": -1}, {"customers": 61}, {"days": 21}, {"radius": 21.0}])
def test_every_setting_changes_data_and_fingerprint(change: dict[str, int | float], tmp_path: Path) -> None:
    settings = {"customers": 60, "terminals": 80, "days": 20, "radius": 20.0, **change}
    original, changed = (handbook.load(config, tmp_path) for config in (SMALL, HandbookConfig(**settings)))

    assert original.fingerprint != changed.fingerprint
    assert not original.frame.collect().equals(changed.frame.collect())


def test_frame_and_schema_keep_the_contract(tmp_path: Path) -> None:
    source = handbook.load(SMALL, tmp_path)
    frame = source.frame.collect()

    assert tuple(frame.columns) == tuple(column.name for column in source.schema.columns)
    assert source.schema.simulated
    assert frame[source.schema.label].dtype == pl.Int8
    assert frame.select(source.schema.time, source.schema.id).equals(
        frame.select(source.schema.time, source.schema.id).sort(source.schema.time, source.schema.id)
    )
    assert frame[source.schema.id].to_list() == list(range(frame.height))
    for column in source.schema.columns:
        if column.minimum is not None:
            assert frame[column.name].min() >= column.minimum
        if column.maximum is not None:
            assert frame[column.name].max() <= column.maximum


def test_frauds_follow_their_scenarios(tmp_path: Path) -> None:
    config = HandbookConfig(customers=300, terminals=400, days=60, radius=10)
    frame = handbook.load(config, tmp_path).frame.collect()

    assert frame["TX_FRAUD"].equals((frame["TX_FRAUD_SCENARIO"] > 0).cast(pl.Int8).alias("TX_FRAUD"))
    assert frame["TX_FRAUD_SCENARIO"].unique().sort().to_list() == [0, 1, 2, 3]
    by_scenario = {key: part for (key,), part in frame.partition_by("TX_FRAUD_SCENARIO", as_dict=True).items()}
    assert by_scenario[0]["TX_AMOUNT"].max() <= handbook.LARGE_AMOUNT
    assert by_scenario[1]["TX_AMOUNT"].min() > handbook.LARGE_AMOUNT
    # A compromised terminal has nothing but frauds for 28 days: on no day a scenario-2 fraud beside a genuine one.
    place = ["TERMINAL_ID", "TX_TIME_DAYS"]
    assert by_scenario[2].join(by_scenario[0], on=place, how="semi").is_empty()


def test_time_starts_on_the_day_asked_for(tmp_path: Path) -> None:
    config = HandbookConfig(customers=60, terminals=80, days=3, radius=20, start="2030-02-27")
    frame = handbook.load(config, tmp_path).frame.collect()

    assert frame["TX_DATETIME"].dt.date().cast(pl.String).unique().sort().to_list() == [
        "2030-02-27",
        "2030-02-28",
        "2030-03-01",
    ]
    since = (frame["TX_DATETIME"] - pl.Series([frame["TX_DATETIME"][0]]).dt.truncate("1d")).dt.total_seconds()
    assert since.to_list() == frame["TX_TIME_SECONDS"].to_list()


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"start": "1 April"}, "data.start=1 April"), ({"radius": 0.0}, "data.radius")],
)
def test_impossible_settings_are_named(settings: dict[str, str | float], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        handbook.load(HandbookConfig(**{"customers": 20, "terminals": 20, "days": 2, **settings}), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("module", "config"),
    [
        ("handbook", "HandbookConfig(customers=60, terminals=80, days=20, radius=20)"),
        ("handbook_scaled", "HandbookScaledConfig(customers=600, terminals=800, days=20, radius=20)"),
    ],
)
def test_an_interrupted_write_leaves_nothing(module: str, config: str, tmp_path: Path) -> None:
    # The system refuses to let a file grow beyond 4 KiB, as a full disk would.
    code = f"""
import resource
from pathlib import Path
from fraudlab.config import *
from fraudlab.data.sources import {module}
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
{module}.load({config}, Path({str(tmp_path)!r}))
"""
    # Bytecode files would hit the limit too.
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)

    assert done.returncode != 0
    assert "File too large" in done.stderr
    assert not list(tmp_path.iterdir())
