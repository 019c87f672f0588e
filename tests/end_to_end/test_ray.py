"""A Ray cluster of two workers gives the bytes of one process, where workers are killed, too.

What needs no cluster of this stands in tests/test_engines.py.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.conftest import FORMAT_1, REPOSITORY, SMALL
from tests.support.commands import Commands
from tests.support.server import free_port

# Ray starts eight processes, and ends where they take longer than some fixed seconds: on a machine with nothing else.
pytestmark = pytest.mark.slow

BUNDLE = FORMAT_1 / "bundle_with_masks"
ROWS = 500_000

TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef0123456789abcdef"}  # else one in the home folder

# A plugin that kills a worker once: as it is imported, or before a file with such an ending is renamed.
DIES = """
import os, signal, sys
from pathlib import Path

ENDING = {ending!r}

def die():
    try:
        Path(__file__).with_name("died").touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)

def hook(event, given):
    if event == "os.rename" and str(given[1]).endswith(ENDING):
        die()

if "default_worker" in sys.argv[0]:
    sys.addaudithook(hook) if ENDING else die()
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    pytest.importorskip("ray", reason="no Ray here: pip install 'fraudlab[ray]'")
    folder = tempfile.mkdtemp(prefix="ray_")  # short: a socket's path may have 107 characters
    port = free_port()
    size = ("--num-cpus=2", "--object-store-memory=100000000", "--include-dashboard=false", "--disable-usage-stats")
    place = ("--node-ip-address=127.0.0.1", f"--port={port}", f"--temp-dir={folder}", "--no-monitor")
    variables = {**os.environ, **TOKEN, "PYTHONPATH": str(REPOSITORY), "POLARS_MAX_THREADS": "1"}
    cluster = subprocess.Popen(
        [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", *size, *place],
        cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        assert cluster.stdout is not None
        said = []
        for line in cluster.stdout:
            said.append(line)
            if "Ray runtime started" in line:
                break
        assert cluster.poll() is None, said
        yield f"127.0.0.1:{port}"
    finally:
        cluster.send_signal(signal.SIGTERM)  # it ends what it started
        cluster.communicate(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


def dies_once(folder: Path, ending: str = "") -> str:
    (folder / "dies_once.py").write_text(DIES.format(ending=ending))
    return "plugins=[dies_once]"


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def run(commands: Commands) -> Run:
    """Runs a command in a folder, with a data cache of its own choice."""
    return lambda folder, name, *words: commands.run(
        ["-m", f"fraudlab.{name}", *words], folder, {**os.environ, **TOKEN}
    )


def said(done: subprocess.CompletedProcess[str]) -> str:
    """What a command printed, without its log, which has the time, and without what Ray says of the killed worker."""
    return "\n".join(line for line in done.stdout.splitlines() if not line.startswith("[20") and "(raylet)" not in line)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_history_features_are_the_same_bytes(run: Run, address: str, tmp_path: Path) -> None:
    """Of two stretches and four parts a key; a worker is killed that has written a file and not yet renamed it."""
    draw = np.random.default_rng(0)
    moments = np.datetime64("2026-01-01", "us") + np.sort(draw.integers(0, 180 * 86_400, ROWS)) * 10**6
    table = {
        "row": np.arange(ROWS),
        "when": moments,
        "card": [f"c{card}" for card in draw.integers(0, 20_000, ROWS)],
        "shop": draw.integers(0, 9_000, ROWS),
        "amount": np.round(draw.gamma(2.0, 30.0, ROWS), 2),
        "fraud": (draw.random(ROWS) < 0.02).astype(np.int8),
    }
    pl.DataFrame(table).write_parquet(tmp_path / "t.parquet")
    roles = ("id=row", "time=when", "card=card", "terminal=shop", "amount=amount", "label=fraud")
    data = ["data=table", f"data.path={tmp_path}/t.parquet", *(f"data.{role}" for role in roles)]
    done = run(tmp_path, "prepare", *data, "features=columns", "paths.data_dir=one")  # the table is read once
    assert done.returncode == 0, done.stderr
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    of = "features.of={count: [], amount: [mean, max], label: [rate]}"
    history = ("features=history", "features.keys={card: [card], shop: [shop]}", "features.windows=[1d,7d]", of)
    made = [*data, *history, "features.memory_gb=0.1"]
    done = run(tmp_path, "prepare", *made, "paths.data_dir=one")
    assert done.returncode == 0, done.stderr
    dies = dies_once(tmp_path, ".parquet")
    on_ray = run(tmp_path, "prepare", *made, "paths.data_dir=two", "engine=ray", f"ray.address={address}", dies)
    assert on_ray.returncode == 0, on_ray.stderr
    assert (tmp_path / "died").exists()
    one, two = (files_of(tmp_path / folder) for folder in ("one", "two"))
    assert sum(name.endswith("000001.parquet") for name in one) == 2
    assert two.keys() == one.keys()
    assert [name for name in one if one[name] != two[name]] == []
    assert said(on_ray).replace(f"{tmp_path}/two", "one") == said(done)


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    """As those of the golden records, more than three blocks."""
    golden = [json.loads(line)["record"] for line in (BUNDLE / "golden.jsonl").read_text().splitlines()]
    many = pl.concat([pl.DataFrame(golden)] * (60_000 // len(golden)))
    return many.with_columns(TRANSACTION_ID=pl.int_range(len(many)), TX_AMOUNT=pl.int_range(len(many)) / 100)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_scores_are_the_same_bytes(run: Run, address: str, rows: pl.DataFrame, tmp_path: Path, kind: str) -> None:
    """The worker that imports the plugin first is killed."""
    rows.write_parquet(tmp_path / "in.parquet")
    score = (f"bundle={BUNDLE}", "input=in.parquet")
    done = run(tmp_path, "predict", *score, f"output=one.{kind}")
    assert done.returncode == 0, done.stderr
    dies = dies_once(tmp_path)
    on_ray = run(tmp_path, "predict", *score, f"output=two.{kind}", "engine=ray", f"ray.address={address}", dies)
    assert on_ray.returncode == 0, on_ray.stderr
    assert (tmp_path / "died").exists()
    assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"two.{kind}").read_bytes()
    assert said(on_ray).replace("two", "one") == said(done)


def test_a_row_that_is_refused_is_told_as_by_one_process(
    run: Run, address: str, rows: pl.DataFrame, tmp_path: Path
) -> None:
    place = pl.int_range(len(rows))
    wrong = rows.with_columns(TX_AMOUNT=pl.when(place == 40_000).then(None).otherwise(pl.col("TX_AMOUNT")))
    wrong.write_parquet(tmp_path / "in.parquet")
    score = (f"bundle={BUNDLE}", "input=in.parquet", "output=out.csv")
    done = [run(tmp_path, "predict", *score, *more) for more in ((), ("engine=ray", f"ray.address={address}"))]
    assert [each.returncode for each in done] == [1, 1]
    errors = ["".join(line for line in each.stderr.splitlines() if line.startswith("error: ")) for each in done]
    assert errors[0] == errors[1]
    assert "row 40001: TX_AMOUNT has no value" in errors[1]
    assert "Traceback" not in done[1].stderr
    assert not (tmp_path / "out.csv").exists()


def test_a_multirun_whose_job_is_killed_runs_the_others(run: Run, tmp_path: Path) -> None:
    """On a cluster that the command starts, of two workers; one job of three dies."""
    pytest.importorskip("ray", reason="no Ray here: pip install 'fraudlab[ray]'")
    launcher = ("hydra/launcher=ray", "hydra.launcher.cpus=2", "hydra.launcher.object_store_mb=100")
    quick = ("model=logistic_regression", "seed=0,1,2", "report=false", "logger=none", "paths.data_dir=data")
    dies = dies_once(tmp_path, "metrics.json")
    done = run(tmp_path, "train", "-m", *SMALL, *quick, *launcher, dies, "hydra.sweep.dir=all")
    assert done.returncode == 1, done.stdout
    assert (tmp_path / "died").exists(), done.stderr
    finished = [job for job in range(3) if (tmp_path / "all" / str(job) / "metrics.json").is_file()]
    assert len(finished) == 2
    (killed,) = {0, 1, 2} - set(finished)
    assert f"seed={killed} " in done.stderr.rpartition("error: ")[2]
    assert "Traceback" not in done.stderr
    for job in finished:
        facts = json.loads((tmp_path / "all" / str(job) / "run.json").read_text())
        assert (facts["model"], facts["seed"]) == ("logistic_regression", job)


@pytest.fixture
def table(tmp_path: Path) -> tuple[str, ...]:
    pl.DataFrame({"a": [1.0, 2.0], "fraud": [0, 1]}).write_parquet(tmp_path / "t.parquet")
    return ("data=table", "data.path=t.parquet", "data.label=fraud", "features=columns", "engine=ray")


def test_without_ray_it_is_said_what_to_install(run: Run, table: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text("raise ImportError('as where it is not installed')")
    done = run(tmp_path, "prepare", *table)
    assert done.returncode == 1
    assert done.stderr.endswith("error: Ray is not installed: pip install 'fraudlab[ray]'\n")


def test_features_of_one_process_are_refused(run: Run, address: str, table: tuple[str, ...], tmp_path: Path) -> None:
    done = run(tmp_path, "prepare", *table, f"ray.address={address}")
    assert done.returncode == 1
    assert "features=columns are computed in one process: leave engine=ray out" in done.stderr
