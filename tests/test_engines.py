"""Tasks in threads come in order, an error ends them, and what is sent to a cluster does the same as here."""

import itertools
import pickle
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cloudpickle
import polars as pl
import pytest

from fraudlab.bundle import load
from fraudlab.bundle.scoring import score_file
from fraudlab.config.engine import RayConfig, engine_of
from fraudlab.data.prepared import prepare
from fraudlab.data.sources.contract import Source
from fraudlab.engines import InThreads
from fraudlab.errors import UserError
from fraudlab.features.history import parts, tables
from tests.conftest import REPOSITORY
from tests.features.history_tables import LIMITED, made, schema, table

BUNDLES = REPOSITORY / "tests" / "compat" / "fixtures" / "format_1"


def test_results_come_in_order_and_few_items_are_taken_ahead() -> None:
    taken, later = [], threading.Event()

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    def work(number: int) -> int:
        if number == 0:
            assert later.wait(10)  # the first is done last of those at work
        if number == 1:
            later.set()
        return number**2

    with engine_of("local", RayConfig(), []) as engine:
        results = engine.map(work, items(), at_once=2)
        assert next(results) == 0
        assert len(taken) < 10
        assert list(results) == [number**2 for number in range(1, 100)]


def test_an_error_comes_in_its_place_and_ends_the_rest() -> None:
    done = []

    def work(number: int) -> int:
        if number == 3:
            raise UserError("three")
        done.append(number)
        return number

    found = []
    with pytest.raises(UserError, match="three"):
        found.extend(InThreads().map(work, range(1000)))
    assert found == [0, 1, 2]
    assert len(done) < 20


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"cpus": 0}, "ray.cpus=0 is too small"),
        ({"cpus": 2, "cpus_per_task": 4}, "ray.cpus_per_task=4 is more than ray.cpus=2"),
        ({"cpus_per_task": 0}, "ray.cpus_per_task=0 is too small"),
        ({"object_store_mb": 10}, "ray.object_store_mb=10 is too small; it must be at least 80"),
        ({"address": "auto", "cpus": 2}, "that of ray.address=auto has its own: leave them out"),
    ],
)
def test_settings_that_no_cluster_can_have_are_refused(settings: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        RayConfig(**settings)


class Sent(InThreads):
    """As a cluster: tasks are pickled on their way, and see files alone."""

    apart = True

    def map(self, work: Callable, items: Iterable, *, at_once: int = 1, memory: float = 0.0) -> Iterator:
        assert memory >= 0
        return super().map(pickle.loads(cloudpickle.dumps(work)), items)


@pytest.mark.parametrize("rows_a_stretch", [90, 400])
def test_history_features_of_tasks_that_are_sent_are_the_same_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rows_a_stretch: int
) -> None:
    for name, rows in (("_PART", 30), ("_MANY", rows_a_stretch), ("_FEW", rows_a_stretch)):
        monkeypatch.setattr(tables, name, rows)
    rows = table(400, 6, days=30).with_columns(card_id=pl.col("card_id") + (pl.col("row") % 11).cast(pl.String))
    rows.write_parquet(tmp_path / "t.parquet")
    source = Source(pl.scan_parquet(tmp_path / "t.parquet"), schema(True), "t")
    features = made(LIMITED, 3, True)
    found = []
    for engine in (InThreads(), Sent()):
        place = tmp_path / type(engine).__name__
        done = prepare(source, features, features.settings, place, 1.0, engine)
        found.append({str(file.relative_to(place)): file.read_bytes() for file in place.rglob("*.parquet")})
        assert {path for path in place.rglob("*") if path.is_file()} == set(done.path.rglob("*.parquet"))
    assert found[0] == found[1]
    assert len(found[0]) == 3 * -(-400 // rows_a_stretch)  # of the clock and of two keys


def test_a_cluster_whose_machines_hash_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = itertools.count()
    monkeypatch.setattr(parts, "_hashes", lambda: [next(calls)])  # as machines with other versions of Polars have them
    table(40, 6).write_parquet(tmp_path / "t.parquet")
    source = Source(pl.scan_parquet(tmp_path / "t.parquet"), schema(True), "t")
    features = made(LIMITED, 3, True)
    with pytest.raises(UserError, match="use machines of one kind with one version of Polars"):
        prepare(source, features, features.settings, tmp_path / "cache", 1.0, Sent())


def test_scores_of_blocks_that_are_sent_are_the_same_bytes(tmp_path: Path) -> None:
    bundle = load(BUNDLES / "bundle_with_masks")
    records = [row["record"] for row in bundle.golden()]
    rows = pl.concat([pl.DataFrame(records)] * (40_000 // len(records)))
    rows.with_columns(TRANSACTION_ID=pl.int_range(len(rows))).write_parquet(tmp_path / "in.parquet")
    for name, engine in (("one", InThreads()), ("two", Sent())):
        score_file(bundle, tmp_path / "in.parquet", tmp_path / f"{name}.csv", engine=engine)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    other = load(BUNDLES / "bundle_without_masks")
    bundle.source = other.source  # as where another machine has another bundle in its place
    with pytest.raises(UserError, match=f"version {other.version} on one machine and {bundle.version} on another one"):
        score_file(bundle, tmp_path / "in.parquet", tmp_path / "three.csv", engine=Sent())
    assert not (tmp_path / "three.csv").exists()
