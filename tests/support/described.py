"""Tables that ``fraudlab.describe`` reads, what it finds, and a training with that."""

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from fraudlab import config
from fraudlab.config import ColumnsFeaturesConfig, TableConfig, composition
from fraudlab.data.description.describe import Description, describe
from fraudlab.data.description.written import experiment
from fraudlab.data.prepared import prepared_table

ROWS = 400
START = datetime.datetime(2024, 1, 1)


def described(path: Path, **settings: Any) -> Description:
    return describe(TableConfig(path=str(path), **{"label": "", **settings}), path.parent / ".cache")


def composed(found: Description, folder: Path) -> Any:
    """The settings of a training with what was written."""
    (folder / "my" / "experiment").mkdir(parents=True, exist_ok=True)
    (folder / "my" / "experiment" / "t.yaml").write_text(experiment(found, "train"))
    words = ["experiment=t", "paths.output_dir=out", f"paths.data_dir={folder}/.cache"]
    config.register()
    made = composition.compose("train", words, str(folder / "my"))
    return config.typed_settings("train", made, words, str(folder / "my"))


def roles(found: Description) -> dict[str, str]:
    return {facts.column.name: facts.column.role for facts in found.columns}


def table(**columns: Any) -> pl.DataFrame:
    """A row an hour or more, an amount, and what is given besides."""
    draw = np.random.default_rng(0)
    when = [f"{START + datetime.timedelta(hours=3 * n)}" for n in range(ROWS)]
    own = {"amount": draw.gamma(2, 9, ROWS).round(2), "fraud": (draw.random(ROWS) < 0.2).astype(int)}
    return pl.DataFrame({"paid_at": when, **own, **columns})


def trains(found: Any, folder: Path) -> pl.DataFrame:
    return prepared_table(composed(found, folder).data, ColumnsFeaturesConfig(), 0, folder / ".cache").source.collect()
