"""``python -m benchmarks.history_accuracy``: ``features=history`` on validation weeks of the Handbook's data.

The book's protocol and a model's recipe (``experiment=handbook_book``), on three weeks before the test: the book's 15
features, the 23, and the definition that ``features=history`` proposes by the columns' roles. The test week is not
looked at: a model is fitted on the rows before a week and scored on that week, for which its best round is chosen.
"""

import argparse
import tempfile
from datetime import date, timedelta
from pathlib import Path

from fraudlab import config
from fraudlab.config.composition import compose, without_hydra
from fraudlab.data.prepared import prepared_table
from fraudlab.metrics.ranking import average_precision
from fraudlab.training.fit import fit
from fraudlab.training.scoring import score_rows

FEATURES = {
    "15": ["features=handbook"],
    "23": ["features=handbook_extended"],
    "history": ["features=history"],
}
QUIET = ("logger=none", "trainer=cpu", "trainer.enable_progress_bar=false")


def on_week(week: str, seed: int, data_dir: Path, *overrides: str) -> float:
    """Average precision on the seven days from ``week`` on."""
    with tempfile.TemporaryDirectory() as folder:
        own = [*QUIET, f"seed={seed}", f"paths.output_dir={folder}", *overrides]
        made = config.typed("train", without_hydra(compose("train", own)))
        later = timedelta(days=made.split.validation_shift_days - made.split.train_days - made.label_delay_days)
        made.split.train_start = str(date.fromisoformat(week) + later)  # so that validation begins with the week
        table = prepared_table(made.data, made.features, made.label_delay_days, data_dir, made.split)
        split = table.split(made.split, made.label_delay_days)
        fit(made, table, split.selection_train, split.validation, Path(folder))
        scores = score_rows(made, table, split.validation, Path(folder))
        return average_precision(table.label.to_numpy()[split.validation], scores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weeks", nargs="+", default=["2018-07-11", "2018-07-18", "2018-07-25"])
    parser.add_argument("--features", nargs="+", choices=FEATURES, default=list(FEATURES))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("overrides", nargs="*", help="default: experiment=handbook_book model=lightgbm")
    given = parser.parse_args()
    overrides = given.overrides or ["experiment=handbook_book", "model=lightgbm"]
    config.register()
    for name in given.features:
        for week in given.weeks:
            found = [on_week(week, seed, given.data_dir, *overrides, *FEATURES[name]) for seed in range(given.seeds)]
            print(f"{name:8} {week}  " + "  ".join(f"{value:.4f}" for value in found), flush=True)


if __name__ == "__main__":
    main()
