"""Tasks in threads come in order, an error ends them, and what is sent to a cluster does the same as here."""

import itertools
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import cloudpickle
import polars as pl
import pytest

from fraudlab.bundle import load
from fraudlab.bundle.scoring import score_file
from fraudlab.config.engine import RayConfig, engine_of
from fraudlab.config.launcher import RayLauncher
from fraudlab.data.prepared import prepare
from fraudlab.data.sources.contract import Source
from fraudlab.engines import InThreads
from fraudlab.engines.on_ray import OnRay, ray_cluster
from fraudlab.errors import UserError
from fraudlab.features.history import parts, tables
from tests.conftest import FORMAT_1
from tests.features.history_tables import LIMITED, made, schema, table


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


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"cpus": 1, "cpus_per_job": 2}, "hydra.launcher.cpus_per_job=2 is more than hydra.launcher.cpus=1"),
        ({"cpus_per_job": "two"}, "hydra.launcher.cpus_per_job=two is no number"),
        ({"cpus": 2.5}, "hydra.launcher.cpus=2.5 is no whole number"),
        ({"gpus_per_job": -1}, "hydra.launcher.gpus_per_job=-1 is too small"),
        ({"gpus_per_job": 1.5}, "hydra.launcher.gpus_per_job=1.5: above 1 it is a whole number"),
        ({"address": "auto", "cpus": 2}, "that of hydra.launcher.address=auto has its own"),
    ],
)
def test_settings_of_the_launcher_are_refused_by_their_names(settings: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        RayLauncher(**{"cpus_per_job": 1, "gpus_per_job": 0} | settings).check()


class Cluster(SimpleNamespace):
    """What :mod:`fraudlab.engines.on_ray` asks of Ray, of machines with 8 CPUs, and 2 CPUs and a GPU."""

    def __init__(self, fails: Exception | None = None) -> None:
        super().__init__(variables={})
        self._fails = fails

    def init(self, *_: object, **__: object) -> None:
        self.variables = dict(os.environ)
        if self._fails:
            raise self._fails

    def shutdown(self) -> None:
        pass

    def remote(self, **_: object) -> Callable:
        return lambda task: SimpleNamespace(options=lambda **_: SimpleNamespace(remote=task))

    def nodes(self) -> list[dict]:
        gone = {"Alive": False, "Resources": {"CPU": 99.0, "GPU": 9.0}}
        return [{"Alive": True, "Resources": each} for each in ({"CPU": 8.0}, {"CPU": 2.0, "GPU": 1.0})] + [gone]

    def put(self, work: object) -> object:
        return work


@pytest.mark.parametrize(
    ("cpus", "gpus", "said"),
    [
        (8, 0, None),
        (2, 1, None),
        (9, 0, "a.cpus=9 is more than any machine of the Ray cluster has; its largest has 8 CPUs and 0 GPUs"),
        (8, 1, "a.cpus=8 with a.gpus=1 is more than any machine"),
        (1, 2, "a.cpus=1 with a.gpus=2 is more than any machine"),
    ],
)
def test_what_no_machine_has_is_refused(
    monkeypatch: pytest.MonkeyPatch, cpus: float, gpus: float, said: str | None
) -> None:
    monkeypatch.setitem(sys.modules, "ray", Cluster())
    engine = OnRay(cpus, gpus, settings=("a.cpus", "a.gpus"))
    with nullcontext() if said is None else pytest.raises(UserError, match=said):
        engine.starting(abs)


@pytest.mark.parametrize(
    ("cpus", "given", "threads"), [(1, None, "1"), (0.5, None, "1"), (4.5, None, "4"), (4, "2", "2")]
)
def test_workers_get_the_threads_of_a_task_and_this_process_its_variables_back(
    monkeypatch: pytest.MonkeyPatch, cpus: float, given: str | None, threads: str
) -> None:
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    monkeypatch.delenv("POLARS_MAX_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("POLARS_MAX_THREADS", given)
    ray = Cluster()
    monkeypatch.setitem(sys.modules, "ray", ray)
    before = dict(os.environ)
    with ray_cluster(None, None, None, cpus):
        assert (ray.variables["POLARS_MAX_THREADS"], ray.variables["RAY_USAGE_STATS_ENABLED"]) == (threads, "0")
    assert dict(os.environ) == before


@pytest.mark.parametrize("kind", [RuntimeError, ValueError, Exception])
def test_a_cluster_that_does_not_take_this_process_is_told(monkeypatch: pytest.MonkeyPatch, kind: type) -> None:
    monkeypatch.setitem(sys.modules, "ray", Cluster(kind("Version mismatch:\n  Ray: 2.1")))
    with (
        pytest.raises(UserError, match=r"the Ray cluster at host:1 cannot be joined: Version mismatch: Ray: 2\.1"),
        ray_cluster("host:1", None, None),
    ):
        pass


def test_settings_of_a_cluster_that_is_not_used_are_told(caplog: pytest.LogCaptureFixture) -> None:
    with engine_of("local", RayConfig(cpus=2, cpus_per_task=2), []):
        assert "not used without engine=ray: ray.cpus, ray.cpus_per_task" in caplog.text
    caplog.clear()
    with engine_of("local", RayConfig(), []):
        assert not caplog.text


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
    bundle = load(FORMAT_1 / "bundle_with_masks")
    records = [row["record"] for row in bundle.golden()]
    rows = pl.concat([pl.DataFrame(records)] * (40_000 // len(records)))
    rows.with_columns(TRANSACTION_ID=pl.int_range(len(rows))).write_parquet(tmp_path / "in.parquet")
    for name, engine in (("one", InThreads()), ("two", Sent())):
        score_file(bundle, tmp_path / "in.parquet", tmp_path / f"{name}.csv", engine=engine)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    other = load(FORMAT_1 / "bundle_without_masks")
    bundle.source = other.source  # as where another machine has another bundle in its place
    with pytest.raises(UserError, match=f"version {other.version} on one machine and {bundle.version} on another one"):
        score_file(bundle, tmp_path / "in.parquet", tmp_path / "three.csv", engine=Sent())
    assert not (tmp_path / "three.csv").exists()
