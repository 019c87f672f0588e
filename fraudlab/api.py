"""What the commands do, from Python: ``from fraudlab.api import compose, train, load_run, load_bundle``.

    run = train("experiment=handbook_book", "model=mlp", "trainer.max_epochs=3")
    run.metrics["test"]["average_precision"]
    run.predictions("test")
    run.export().predict(records)

Overrides are those of the command line. A mistake raises :class:`fraudlab.errors.UserError`. The import is cheap.
"""

import html
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fraudlab.errors import UserError

if TYPE_CHECKING:
    import polars as pl
    from torch import nn

    from fraudlab.bundle import Bundle
    from fraudlab.config import TrainConfig

__all__ = ["Report", "Run", "compare", "compose", "load_bundle", "load_run", "load_table", "train"]


def compose(*overrides: str, command: str = "train", config_dir: str | Path | None = None) -> Any:
    """The typed, checked settings that a command would have.

    Args:
        overrides: as on the command line, e.g. ``"model=mlp", "trainer.max_epochs=3"``.
        command: which command's.
        config_dir: folder of YAML of your own, as ``--config-dir`` names it.

    Raises:
        UserError: a setting does not exist or cannot have its value; the nearest key is named.

    >>> from fraudlab.api import compose
    >>> config = compose("experiment=handbook_book", "model=mlp", "trainer.max_epochs=3")
    >>> config.model.name, config.trainer["max_epochs"], config.label_delay_days
    ('mlp', 3, 7)
    """
    with _composed(command, overrides, Path("outputs") / command, config_dir) as config:
        return config


def train(*overrides: str, path: str | Path | None = None, config_dir: str | Path | None = None) -> "Run":
    """Train, measure and report as ``python -m fraudlab.train`` does, in this process.

    The state of the random generators, the loggers' levels and handlers, warnings' filters, the number of PyTorch's
    threads and the environment are as before when it returns. What was imported stays imported.

    Args:
        overrides: as on the command line.
        path: the run folder; by default ``outputs/train/<date>_<time>`` in the working directory.
        config_dir: folder of YAML of your own, as ``--config-dir`` names it.

    Raises:
        UserError: a setting is wrong, the data cannot be read, the training diverged, or the settings ask for several
            processes, which only the command can start.

    >>> from fraudlab.api import train
    >>> table = ["data=table", "data.path=transactions.csv", "data.label=fraud", "data.time=time", "data.card=card"]
    >>> plain = ["experiment=none", "features=columns", "split=time_fraction", "data.missing_values=['?']"]
    >>> run = train(*table, *plain, "model=lightgbm", "model.n_estimators=5", "logger=none", path="outputs/train/mine")
    >>> 0 < run.metrics["test"]["average_precision"] <= 1
    True
    """
    from fraudlab.training.own_process import refuse_several, unchanged

    if given := next((each for each in overrides if each.lstrip("+").startswith("hydra.run.dir=")), None):
        raise UserError(f"{given}: from Python, path= names the run folder")
    folder = _new_folder() if path is None else Path(path)
    with unchanged(), _composed("train", overrides, folder, config_dir) as config:
        refuse_several(config, overrides)
        from fraudlab.train import run_training

        run_training(config)
        return Run(Path(config.resume) if config.resume else folder)


def load_table(*overrides: str, config_dir: str | Path | None = None) -> "pl.DataFrame":
    """The table that :func:`train` would learn from, whole and in memory: raw columns, label and features, by time.

    Args:
        overrides: as on the command line.
        config_dir: folder of YAML of your own, as ``--config-dir`` names it.

    Raises:
        UserError: a setting is wrong, or the data cannot be read.

    >>> from fraudlab.api import load_table
    >>> table = ["data=table", "data.path=transactions.csv", "data.label=fraud", "data.time=time"]
    >>> load_table(*table, "experiment=none", "features=columns", "split=time_fraction").height
    1500
    """
    import numpy as np

    from fraudlab.data.prepared import prepared_table

    with _composed("train", overrides, Path("outputs") / "train", config_dir) as config:
        cache = Path(config.paths.data_dir)
        table = prepared_table(config.data, config.features, config.label_delay_days, cache, config.split)
        return table.rows(np.arange(len(table.label)), list(table.types()))


def compare(runs: "Sequence[Run | str | Path]", *overrides: str) -> dict[str, Any]:
    """The comparison of runs that ``python -m fraudlab.compare`` writes to ``compare.json``.

    Args:
        runs: two or more, or folders of runs. Those that differ by their seed alone are one model.
        overrides: as on the command line, e.g. ``"part=val"``.

    Returns:
        ``models``, each with its ``metrics``, and ``differences`` of each further model to the first, with intervals.

    Raises:
        UserError: there are fewer than two finished runs, or a run has no such part.

    >>> from fraudlab.api import compare
    >>> found = compare(["outputs/train/first", "outputs/train/second"], "resamples=100")
    >>> len(found["models"]), len(found["differences"])
    (2, 1)
    """
    from fraudlab.config.overrides import literal_text
    from fraudlab.reporting.comparison import to_json
    from fraudlab.runs.comparison import find_runs, models, resampled

    names = ",".join(literal_text(run.path if isinstance(run, Run) else run) for run in runs)
    with _composed("compare", [f"runs=[{names}]", *overrides], Path("outputs") / "compare") as config:
        compared = models(find_runs(config.runs), config.part)
        found = resampled(compared, config.group, config.resamples, config.confidence, config.seed)
        return to_json(compared, found)


def load_run(path: str | Path, *, plugins: Sequence[str] = ()) -> "Run":
    """A finished run.

    Args:
        path: its folder.
        plugins: the modules that it was made with, if any; a run never causes an import by itself.

    Raises:
        UserError: there is no run, it did not finish, or it was made with other plugins; the message says which.

    >>> from fraudlab.api import load_run
    >>> run = load_run("outputs/train/first")
    >>> run.config.model.name
    'tabnet'
    """
    from fraudlab.config.plugins import load_plugins
    from fraudlab.runs.folder import RunFolder
    from fraudlab.runs.settings import read_settings

    load_plugins(plugins)
    run = RunFolder.find(Path(path))
    read_settings(run.config_path)
    return Run(run.path)


def load_bundle(path: str | Path, *, threads: int = 1, plugins: Sequence[str] = ()) -> "Bundle":
    """A bundle, ready to score.

    Args:
        path: its folder, or a ``gs://`` address; each file is checked against the manifest.
        threads: of one call of the model.
        plugins: the modules that its features were made with, if any; a bundle never causes an import by itself.

    Raises:
        UserError: there is none, it is not as it was exported, or it was made with other plugins.

    >>> from fraudlab.api import load_bundle
    >>> bundle = load_bundle("outputs/train/first/bundle")
    >>> records = [row["record"] for row in bundle.golden()[:2]]
    >>> bundle.predict(records).shape
    (2,)
    """
    from fraudlab.bundle import load
    from fraudlab.config.plugins import load_plugins

    load_plugins(plugins)
    return load(path, threads=threads)


@dataclass(frozen=True)
class Report:
    """The report of a run; a notebook shows it.

    Attributes:
        path: of the page, HTML in one file that asks no other host.

    >>> from fraudlab.api import load_run
    >>> load_run("outputs/train/first").report().path.name
    'report.html'
    """

    path: Path

    def _repr_html_(self) -> str:
        page = html.escape(self.path.read_text(encoding="utf-8"))
        return f'<iframe srcdoc="{page}" width="100%" height="900" frameborder="0"></iframe>'


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        path: its folder.

    >>> from fraudlab.api import load_run
    >>> run = load_run("outputs/train/first")
    >>> sorted(run.metrics)
    ['test', 'train', 'val']
    >>> run.predictions("test").select("transaction_id", "label", "score").shape
    (85, 3)
    """

    path: Path

    @property
    def metrics(self) -> dict[str, Any]:
        """Content of ``metrics.json``: ``{"val": {...}, "test": {...}, "train": {...}}``.

        Metrics are shares in [0, 1] unless the name says otherwise; amounts are in the table's currency, ``seconds`` of
        wall time. ``test`` lacks where ``test=false``.
        """
        from fraudlab.runs.folder import RunFolder

        return RunFolder(self.path).metrics()

    @property
    def config(self) -> "TrainConfig":
        """The typed settings."""
        from fraudlab.runs.folder import RunFolder
        from fraudlab.runs.settings import load_config

        config: TrainConfig = load_config(RunFolder(self.path).config_path)
        return config

    def predictions(self, part: str = "test") -> "pl.DataFrame":
        """What the model gave, a row a transaction.

        Args:
            part: ``val``, ``test``, or ``recent``: rows before the test that the tested model has not learnt from.

        Returns:
            ``transaction_id, time, card_id, terminal_id, amount`` as the table has them, null where it has no such
            column, ``label`` (1: fraud) and ``score``, float32: the probability of fraud before calibration.

        Raises:
            UserError: the run has none of that part.
        """
        from fraudlab.runs.folder import RunFolder

        run = RunFolder(self.path)
        if not run.predictions_path(part).is_file():
            there = ", ".join(sorted(file.stem for file in run.predictions_path(part).parent.glob("*.parquet")))
            raise UserError(f"{self.path} has no predictions of {part}; it has: {there}")
        return run.predictions(part)

    def network(self) -> "nn.Module":
        """The tested network, in evaluation.

        Returns:
            Called with ``categorical`` int64 [B, C] and ``numeric`` float32 [B, N], it gives ``logits`` float32 [B, 2]
            ([B, M, 2] of an ensemble) and ``penalty``.

        Raises:
            UserError: the run's model is not a network.

        >>> import torch
        >>> from fraudlab.api import load_run
        >>> network = load_run("outputs/train/first").network()
        >>> network(torch.zeros(4, 0, dtype=torch.int64), torch.zeros(4, 15)).logits.shape
        torch.Size([4, 2])
        """
        from fraudlab.models.registry import MODELS
        from fraudlab.runs.folder import RunFolder
        from fraudlab.training.scoring import load_network

        name = self.config.model.name
        if MODELS[name].kind != "network":
            raise UserError(f"model={name} is no network; its file lies in {self.path / 'checkpoints'}")
        return load_network(RunFolder(self.path).final / "checkpoints" / "best.ckpt")

    def export(self, *overrides: str, out: str | Path | None = None) -> "Bundle":
        """Write the tested model as a bundle, as ``python -m fraudlab.export`` does, and give it ready to score.

        Args:
            overrides: as on the command line, e.g. ``"calibration=platt"``.
            out: its folder; by default ``bundle`` in the run folder.

        Raises:
            UserError: a setting is wrong, the data changed since the run, or the bundle's scores differ from the run's.
        """
        from fraudlab.config.overrides import literal
        from fraudlab.export import run_export
        from fraudlab.training.own_process import unchanged

        folder = self.path / "bundle" if out is None else Path(out)
        words = [*overrides, literal("run", self.path), literal("out", folder)]
        with unchanged(), _composed("export", words, Path("outputs") / "export") as config:
            return run_export(config)

    def report(self) -> Report:
        """``report.html``, written now where the run has none."""
        from fraudlab.reporting.report import write_report

        page = self.path / "report.html"
        return Report(page if page.is_file() else write_report(self.path))

    def _repr_html_(self) -> str:
        from fraudlab.reporting.table import metrics_table
        from fraudlab.runs.folder import RunFolder

        table = metrics_table(self.metrics, simulated=RunFolder(self.path).provenance()["simulated"])
        return f"<pre>{html.escape(table)}\n\nrun folder: {html.escape(str(self.path))}</pre>"


@contextmanager
def _composed(
    command: str, overrides: Sequence[str], folder: Path, config_dir: str | Path | None = None
) -> Iterator[Any]:
    """The typed settings of a command, with Hydra's own known inside as in the command."""
    from hydra.core.hydra_config import HydraConfig

    from fraudlab import config as settings
    from fraudlab.config import composition
    from fraudlab.config.overrides import literal

    settings.register()
    added = None if config_dir is None else str(config_dir)
    composed = composition.compose(command, [*overrides, literal("paths.output_dir", folder)], added)
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(composed)
    try:
        yield settings.typed_settings(command, composed, overrides, added)
    finally:
        HydraConfig.instance().cfg = before


def _new_folder() -> Path:
    """A run folder named by the time; a second run of the same second gets another one."""
    base = Path("outputs") / "train" / f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    return next(path for path in (base, *(Path(f"{base}_{n}") for n in range(2, 1000))) if not path.exists())
