"""Fixtures that several tests share."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support.commands import Commands
from tests.support.redis_server import PROGRAM, RedisServer

REPOSITORY = Path(__file__).parents[1]
FORMAT_1 = REPOSITORY / "tests" / "compat" / "fixtures" / "format_1"
"""What the first version wrote: a table, runs of it and bundles."""

STARTS_PROCESSES = {
    "command",
    "commands",
    "exported",
    "by_money",
    "small_data",
    "postgresql",
    "redis_server",
    "served",
    "subprocess",
    "multiprocessing",
    "NotebookClient",
    "Server",
}
"""Fixtures that start a process, and names in a test module of what does."""

# A simulated table small enough for tests: three weeks, a week of training, and frauds in every part.
SMALL = (
    "data.customers=120",
    "data.terminals=600",
    "data.radius=10",
    "data.days=70",
    "split.train_start=2018-05-01",
    "split.train_days=14",
    "trainer.max_epochs=3",
    "trainer.enable_progress_bar=false",
    "batch_size=512",
)


hypothesis.settings.register_profile("tests", deadline=None)  # a busy machine takes longer
hypothesis.settings.load_profile("tests")


def pytest_make_parametrize_id(val: object) -> str | None:
    """Names bytes without what they hold: an archive tells the second it was made in, which workers would not share."""
    return "bytes" if isinstance(val, bytes) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that start processes: by a fixture that does, or in a module that imports what does.

    Files of such tests come first: they take long, and several workers end together where what is left is short.
    """
    long = set()
    for item in items:
        names = set(vars(getattr(item, "module", None)) or ())
        if STARTS_PROCESSES & {*getattr(item, "fixturenames", ()), *names}:
            item.add_marker(pytest.mark.process)
            long.add(item.path)
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real and published data sets; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("FRAUDLAB_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no folder of shared data; FRAUDLAB_SHARED_DATA names one")
    return folder


@pytest.fixture
def hydra_conf() -> Iterator[None]:
    """Hydra with conf/ and the registered schemas, for tests that compose."""
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    from fraudlab import config
    from fraudlab.cli import HYDRA_VERSION_BASE, conf_dir

    config.register()
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(conf_dir()), version_base=HYDRA_VERSION_BASE):
        yield
    GlobalHydra.instance().clear()


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """Processes that have the imports of most commands behind them."""
    made = Commands(tmp_path_factory.mktemp("printed"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def command(commands: Commands, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Run ``python -m fraudlab.<name>`` with overrides, as a user does, with one data cache for all tests."""
    cache = tmp_path_factory.mktemp("cache")

    def run(
        name: str, *overrides: str, cwd: Path | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        words = ["-m", f"fraudlab.{name}", *overrides, f"paths.data_dir={cache}"]
        folder, variables = cwd or cache, {**os.environ, "WANDB_MODE": "offline", **(env or {})}
        if any(variable.startswith("PYTHON") for variable in env or ()):  # Python reads them when it starts
            return subprocess.run(
                [sys.executable, *words], cwd=folder, env=variables, capture_output=True, text=True, timeout=300
            )
        return commands.run(words, folder, variables)

    return run


@pytest.fixture(scope="session")
def small_data(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that holds the small simulated table."""
    folder = tmp_path_factory.mktemp("small_data")
    settings = [item for item in SMALL if item.startswith("data.")]
    done = command("prepare", *settings, f"paths.data_dir={folder}")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def exported(command: Command, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run on simulated IEEE-CIS rows and the bundle exported from it."""
    folder = tmp_path_factory.mktemp("exported")
    quick = ("trainer.max_epochs=1", "trainer.enable_progress_bar=false", "report=false", "logger=none")
    done = command("train", "data=ieee_cis_simulated", "data.rows=2000", *quick, f"hydra.run.dir={folder}/run")
    assert done.returncode == 0, done.stderr
    done = command("export", f"run={folder}/run", f"out={folder}/bundle", "calibration=platt")
    assert done.returncode == 0, done.stderr
    assert "simulated" in done.stdout
    return folder / "run", folder / "bundle"


@pytest.fixture(scope="session")
def handbook_bundle(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of features=handbook, of the small simulated table."""
    folder = tmp_path_factory.mktemp("handbook")
    quick = ("trainer.max_epochs=1", "report=false", "logger=none", f"hydra.run.dir={folder}/run")
    for name, overrides in (("train", (*SMALL, *quick)), ("export", (f"run={folder}/run", f"out={folder}/bundle"))):
        done = command(name, *overrides)
        assert done.returncode == 0, done.stderr
    return folder / "bundle"


@pytest.fixture(scope="session")
def by_money(command: Command, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run of three networks on simulated IEEE-CIS rows, and its bundle, which decides by money."""
    folder = tmp_path_factory.mktemp("by_money")
    data = ("data=ieee_cis_simulated", "data.rows=2000", "model=mlp", "model.members=3", "trainer.max_epochs=1")
    costs = ("admin_cost=40", "recovery_share=0.5", "refit=false")
    rest = ("trainer.enable_progress_bar=false", "report=false", "logger=none", f"hydra.run.dir={folder}/run")
    export = (f"run={folder}/run", f"out={folder}/bundle", "medium_money=true", "high_per_1000=30")
    for name, words in (("train", (*data, *costs, *rest)), ("export", export)):
        done = command(name, *words)
        assert done.returncode == 0, done.stderr
    assert "alerts where score x TransactionAmt x 0.5 is above 40" in done.stdout
    assert "calibration=best" in done.stdout  # scores that are not calibrated are taken as probabilities
    return folder / "run", folder / "bundle"


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis of the tests' own; each test names its history otherwise."""
    if PROGRAM is None:
        pytest.skip("no Redis here: apt-get install redis-server")
    with RedisServer(tmp_path_factory.mktemp("redis"), "--appendfsync", "no") as server:
        yield server


def _binaries() -> Path | None:
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = str(versions[-1]) if versions else shutil.which("initdb")
    return Path(found).resolve().parent if found else None


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Address of a database of the tests' own, on a socket, with no port open."""
    pytest.importorskip("psycopg")
    binaries = _binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL here: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="fraudlab_pg_"))  # short: a socket's path may have 107 characters
    as_user: dict = {}
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}

    def run(*command: str) -> None:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, **as_user)
        assert done.returncode == 0, done.stdout + done.stderr

    data = folder / "data"
    options = f"-c listen_addresses='' -c fsync=off -k {folder}"
    try:
        run(str(binaries / "initdb"), "-D", str(data), "-U", "sweeper", "-A", "trust", "--no-sync")
        run(str(binaries / "pg_ctl"), "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start")
        try:
            yield f"postgresql://sweeper@/postgres?host={folder}"
        finally:
            run(str(binaries / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
