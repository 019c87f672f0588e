"""``python -m benchmarks.ema``: what an average of the weights gives on a table of one's own, by its number of rows.

The README's command (``experiment=claims model=mlp trainer.max_epochs=5``), on tables that are made up here. Each
variant is trained with the same seeds; the differences are paired, with their 95 % interval (Student's t).
"""

import argparse
import datetime
import tempfile
from pathlib import Path

import hydra
import numpy as np
import polars as pl
from scipy import stats

from fraudlab import config
from fraudlab.cli import HYDRA_VERSION_BASE, conf_dir
from fraudlab.data.prepared import prepared_table
from fraudlab.metrics.ranking import average_precision
from fraudlab.training.fit import fit
from fraudlab.training.scoring import score_rows

TABLE = ("experiment=none", "data=table", "data.label=fraud", "data.id=id", "data.time=time", "features=columns")
SPLIT = ("split=time_fraction", "logger=none", "trainer=cpu", "trainer.enable_progress_bar=false")
VARIANTS = {
    "defaults": [],
    "no average": ["callbacks.ema=null"],
    "EMA 0.99": ["callbacks.ema={_target_:lightning.pytorch.callbacks.EMAWeightAveraging,decay:0.99}"],
}


def table(rows: int, seed: int) -> pl.DataFrame:
    """Made-up transactions, 3 % of them frauds: an amount, three numbers and a shop tell them from the others."""
    draw = np.random.default_rng(seed)
    fraud = draw.random(rows) < 0.03
    seconds = np.sort(draw.integers(0, 60 * 86_400, rows))
    return pl.DataFrame(
        {
            "id": np.arange(rows),
            "time": [datetime.datetime(2024, 1, 1) + datetime.timedelta(seconds=int(second)) for second in seconds],
            "amount": np.exp(draw.normal(3, 1, rows) + fraud),
            "x1": draw.normal(0, 1, rows) + 1.5 * fraud,
            "x2": draw.normal(0, 1, rows) - fraud,
            "x3": draw.normal(0, 1, rows),
            "shop": [f"s{shop}" for shop in np.where(fraud, draw.integers(0, 3, rows), draw.integers(0, 12, rows))],
            "fraud": fraud.astype(int),
        }
    )


def average_precision_of(path: Path, seed: int, *overrides: str) -> float:
    """Average precision on the test rows of a training on the table at ``path``."""
    folder = Path(tempfile.mkdtemp(dir=path.parent))
    own = [*TABLE, *SPLIT, f"data.path={path}", f"seed={seed}", f"paths.output_dir={folder}", *overrides]
    with hydra.initialize_config_dir(str(conf_dir()), version_base=HYDRA_VERSION_BASE):
        made = config.typed("train", hydra.compose("train", own))
    prepared = prepared_table(made.data, made.features, made.label_delay_days, path.parent / "data")
    split = prepared.split(made.split, made.label_delay_days)
    fit(made, prepared, split.selection_train, split.validation, folder)
    scores = score_rows(made, prepared, split.test, folder)
    return average_precision(prepared.label.to_numpy()[split.test], scores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 5_000, 20_000, 200_000])
    parser.add_argument("--models", nargs="+", default=["mlp"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("overrides", nargs="*", default=["trainer.max_epochs=5"])
    given = parser.parse_args()
    config.register()
    with tempfile.TemporaryDirectory() as folder:
        for rows in given.rows:
            path = Path(folder) / f"{rows}.csv"
            table(rows, seed=0).write_csv(path)
            for model in given.models:
                found = {
                    name: np.array(
                        [
                            average_precision_of(path, seed, f"model={model}", *VARIANTS[name], *given.overrides)
                            for seed in range(given.seeds)
                        ]
                    )
                    for name in given.variants
                }
                for name, values in found.items():
                    apart = values - found[given.variants[0]]
                    interval = stats.t.ppf(0.975, given.seeds - 1) * apart.std(ddof=1) / np.sqrt(given.seeds)
                    print(
                        f"{rows:7,} rows  {model:7} {name:11} AP {values.mean():.3f}  "
                        f"against {given.variants[0]} {apart.mean():+.3f} ± {interval:.3f}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
