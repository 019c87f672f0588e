"""A table of 200 rows and the settings of fits on it."""

from pathlib import Path
from typing import Any

import hydra
import numpy as np
import polars as pl

from fraudlab import config
from fraudlab.data.prepared import PreparedTable, prepared_table

TRAIN, VALIDATION = np.arange(150), np.arange(150, 200)


def settings(command: str, folder: Path, *overrides: str) -> Any:
    small = ["batch_size=50", "trainer.enable_progress_bar=false"]
    small += ["model.hidden=[4]"] if "model=mlp" in overrides else ["model.n_d=4", "model.n_a=4", "model.n_steps=2"]
    own = ["data=table", f"data.path={folder}/t.csv", "data.label=fraud", "features=columns", "trainer=cpu"]
    composed = hydra.compose(command, [*own, *small, f"paths.output_dir={folder}", "logger=none", *overrides])
    return config.typed(command, composed)


def table(made: Any, folder: Path) -> PreparedTable:
    draw = np.random.default_rng(0)
    number = draw.standard_normal(200)
    frame = pl.DataFrame({"number": number, "other": draw.standard_normal(200), "fraud": (number > 1).astype(int)})
    frame.write_csv(folder / "t.csv")
    return prepared_table(made.data, made.features, made.label_delay_days, folder / "data")
