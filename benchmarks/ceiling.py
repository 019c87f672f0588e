"""``python -m benchmarks.ceiling``: about the best average precision that the book's 15 features allow.

Another seed of the simulator gives other customers, terminals and frauds by the same rules. LightGBM learns from the
rows that the book's protocol would test, of 19 weeks of each of several such data sets, with 40 times the frauds of a
training week, and is scored on validation weeks of the published data. A fit to fewer data sets tells whether more of
them would still help.

    python -m benchmarks.ceiling --data-sets 1 3
"""

import argparse
import logging
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from fraudlab.api import compose
from fraudlab.data.prepared import prepared_table
from fraudlab.files import replacing, write_json
from fraudlab.metrics.ranking import Ranking

RESULTS = Path("benchmarks/results/ceiling.json")
PUBLISHED, STOPPED_ON, FIRST = 0, 1, 2  # seeds of the simulator: the published data, rounds are chosen on, learnt from
VALIDATION = tuple(date(2018, 7, day) for day in (11, 18, 25))  # first days of weeks
WEEKS = tuple(date(2018, 5, 16) + timedelta(weeks=week) for week in range(19))
LAYOUT = timedelta(days=14)  # from the first training day to the first test day

Rows = tuple[NDArray[np.float32], NDArray[np.int8], NDArray[np.int8]]
"""Features [N, 15], labels [N], and which week [N]."""


def rows_of(seed: int, weeks: tuple[date, ...], folder: Path) -> Rows:
    """The rows that the book's protocol would test in ``weeks`` of a simulation; kept in ``folder``."""
    path = folder / f"{seed}_{len(weeks)}.npz"
    if not path.exists():
        config = compose("experiment=handbook_book", f"data.seed={seed}", "split.recent_windows=0")
        with TemporaryDirectory(dir=folder) as cache:
            table = prepared_table(config.data, config.features, config.label_delay_days, Path(cache))
            label = table.label.to_numpy()
            found = []
            for number, week in enumerate(weeks):
                layout = replace(config.split, train_start=str(week - LAYOUT))
                rows = table.split(layout, config.label_delay_days).test
                features = table.rows(rows, list(table.numeric)).to_numpy().astype(np.float32)
                found.append((features, label[rows], np.full(len(rows), number, np.int8)))
        with replacing(path) as aside, aside.open("wb") as file:
            np.savez(file, *(np.concatenate(part) for part in zip(*found, strict=True)))
    with np.load(path) as arrays:
        features, label, week = arrays.values()
    return features, label, week


def widened(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """The 15 features and functions of them, which trees would need many rows to find: ratios, differences, counts."""
    amount, number, mean = features[:, :1], features[:, 3:9:2], features[:, 4:9:2]
    known, risk = features[:, 9:15:2], features[:, 10:15:2]
    other = (mean * number - amount) / np.maximum(number - 1, 1)  # mean amount of the customer's other transactions
    frauds = known * risk
    ratio = amount / np.maximum(np.hstack([mean, other]), 0.01)
    earlier = np.hstack([np.diff(part, axis=1) for part in (number, mean * number, known, frauds)])
    return np.hstack([features, other, frauds, ratio, earlier]).astype(np.float32)


def learnt(features: NDArray[np.float32], label: NDArray[np.int8], stop: Rows, threads: int) -> lightgbm.Booster:
    """LightGBM, as many rounds as are best on ``stop``."""
    settings = {
        **{"objective": "binary", "learning_rate": 0.05, "num_leaves": 63, "min_child_samples": 100, "max_bin": 1023},
        **{"bagging_fraction": 0.5, "bagging_freq": 1, "feature_fraction": 0.5, "lambda_l2": 1.0},
        **{"num_threads": threads, "seed": 0, "force_row_wise": True, "verbosity": -1},
    }
    train = lightgbm.Dataset(features, label, params=settings, free_raw_data=True)
    watched = train.create_valid(widened(stop[0]), stop[1])
    return lightgbm.train(settings, train, 600, [watched], callbacks=[lightgbm.early_stopping(40, verbose=False)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-sets", nargs="+", type=int, default=[1, 3], help="that a fit learns from")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("data/ceiling"), help="where their rows are kept")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    given.folder.mkdir(parents=True, exist_ok=True)
    judged, stop = rows_of(PUBLISHED, VALIDATION, given.folder), rows_of(STOPPED_ON, WEEKS, given.folder)
    found: dict[str, Any] = {}
    for data_sets in given.data_sets:
        parts = [rows_of(FIRST + number, WEEKS, given.folder) for number in range(data_sets)]
        features, label = np.vstack([widened(part[0]) for part in parts]), np.concatenate([part[1] for part in parts])
        del parts
        model = learnt(features, label, stop, given.threads)
        score = np.asarray(model.predict(widened(judged[0]), num_threads=given.threads))
        weeks = {}
        for number, week in enumerate(VALIDATION):
            of_week = judged[2] == number
            fraud, ranking = judged[1][of_week], Ranking(judged[1][of_week], score[of_week])
            metrics = {"average_precision": ranking.average_precision(), "roc_auc": ranking.roc_auc()}
            weeks[str(week)] = {"rows": len(fraud), "frauds": int(fraud.sum()), **metrics}
        learnt_from = {"rows": len(label), "frauds": int(label.sum()), "rounds": model.best_iteration}
        log_loss = float(model.best_score["valid_0"]["binary_logloss"])
        found[f"{data_sets} data sets"] = {**learnt_from, "log_loss_elsewhere": log_loss, **weeks}
        print(f"{data_sets} data sets", learnt_from, weeks, flush=True)
        write_json(given.out, found)


if __name__ == "__main__":
    main()
