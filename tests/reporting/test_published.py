"""Published metrics stand beside those of a run that is measured as they were, and beside no other."""

import logging

import pytest

from fraudlab.api import compose
from fraudlab.reporting.published import BENCHMARKS, benchmark_for


@pytest.mark.parametrize(
    "change", [(), ("model=mlp",), ("split.validation_shift_days=21",), ("seed=3", "features.encoder.scaling=none")]
)
def test_the_books_metrics_stand_beside_the_books_protocol(change: tuple[str, ...]) -> None:
    assert benchmark_for(compose("experiment=handbook_book", *change)) is BENCHMARKS["handbook"]


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        (("data.seed=1",), "data"),
        (("data=ieee_cis_simulated", "features=columns"), "data, split, label_delay_days, features"),
        (("split.train_days=14",), "split"),
        (("split.train_start=2018-07-01",), "split"),
        (("split.test_days=3",), "split"),
        (("split.drop_known_cards=false",), "split"),
        (("split=time_fraction",), "split"),
        (("label_delay_days=3",), "label_delay_days"),
        (("features=handbook_extended",), "features"),
    ],
)
def test_it_stands_beside_no_other(change: tuple[str, ...], differs: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert benchmark_for(compose("experiment=handbook_book", *change)) is None
    assert f"published=handbook is not shown: other {differs} than published" in caplog.text


def test_a_run_that_names_none_or_tests_nothing_has_none() -> None:
    assert benchmark_for(compose("experiment=handbook")) is None
    assert benchmark_for(compose("experiment=handbook_book", "test=false")) is None
