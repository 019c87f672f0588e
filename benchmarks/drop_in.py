"""``python -m benchmarks.drop_in``: a script for pytorch-tabnet 4.1.0 with one import changed, both in one process.

The script is :func:`census`, the flow of pytorch-tabnet's census example: label encoding, embeddings, groups, entmax, a
schedule, balanced draws, SMOTE, two eval sets, early stopping, a saved and loaded model, explanations. ``--adult``
names a file of the UCI Adult training set (https://archive.ics.uci.edu/dataset/2/adult); without it a table of its
shape is generated. A line has the rows that ``fit`` learns from a second; its seconds, those of the CPU too, and the
AUC on the test rows are printed, and in the JSON, seed by seed. A first run of each, of one epoch, does not count.
"""

import argparse
import contextlib
import io
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from pytorch_tabnet.augmentations import ClassificationSMOTE
from pytorch_tabnet.tab_model import TabNetClassifier as Theirs
from sklearn.metrics import roc_auc_score

from benchmarks import records
from benchmarks.records import Line
from benchmarks.timing import speed
from fraudlab.sklearn import TabNetClassifier as Ours

LABEL, CATEGORIES = "income", 200  # a column with fewer different values is categorical
SIDES = {"theirs": Theirs, "ours": Ours}


def main() -> None:
    parser = records.parser(__doc__ or "", ["census"], "drop_in")
    parser.set_defaults(rounds=3)
    parser.add_argument("--adult", type=Path, help="UCI Adult as Parquet or CSV with a header")
    parser.add_argument("--epochs", type=int, default=10, help="epochs at most (default 10)")
    parser.add_argument("--rows", type=int, default=32_561, help="rows that are generated (default 32561)")
    arguments = records.parsed(parser)
    if arguments.quick:
        arguments.rounds, arguments.rows, arguments.epochs = 1, 1_000, 2
    records.measure(arguments, {"census": census_of_both})


def census_of_both(arguments: argparse.Namespace) -> list[Line]:
    """Both sides by turns, ``--rounds`` seeds."""
    table = read(arguments.adult) if arguments.adult else generated(arguments.rows)
    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for classifier in SIDES.values():  # imports and compilation
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            census(classifier, table[:1000], 0, 1)
    for seed in range(arguments.rounds):
        for side, classifier in SIDES.items():
            with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found[side].append(census(classifier, table, seed, arguments.epochs))
            print(f"seed {seed}  {side}  {found[side][-1]}", flush=True)
    sides: dict[str, Any] = {}
    for side, runs in found.items():
        rows = runs[0]["rows"] * runs[0]["epochs"]
        sides[side] = speed([run["seconds"] * rows / (run["rows"] * run["epochs"]) for run in runs], int(rows))
        sides[side] |= {key: [run[key] for run in runs] for key in ("auc", "epochs", "seconds", "cpu_seconds")}
    apart = np.array(sides["ours"]["auc"]) - np.array(sides["theirs"]["auc"])
    print(f"AUC, ours - theirs: {apart.mean():+.4f} on average, {apart.min():+.4f} to {apart.max():+.4f}")
    print(f"AUC of theirs, standard deviation over seeds: {np.std(sides['theirs']['auc']):.4f}")
    used = {side: sum(run["cpu_seconds"] / run["epochs"] for run in runs) for side, runs in found.items()}
    print(f"CPU seconds an epoch, theirs / ours: {used['theirs'] / used['ours']:.2f}")
    what = f"fit, theirs: TabNetClassifier.fit, {'Adult' if arguments.adult else 'generated'}"
    ratio = sides["ours"]["rows_per_s"] / sides["theirs"]["rows_per_s"]
    return [{"what": what, **sides, "ratio": ratio}]


def census(TabNetClassifier: Any, table: pl.DataFrame, seed: int, epochs: int) -> dict[str, float]:
    """The script; gives the seconds and epochs of ``fit`` and the AUC on the test rows."""
    part = np.random.default_rng(seed).choice(3, len(table), p=(0.8, 0.1, 0.1))
    features = [name for name in table.columns if name != LABEL]
    columns, cat_idxs, cat_dims = [], [], []
    for position, name in enumerate(features):
        values = table[name]
        if values.dtype == pl.String or values.n_unique() < CATEGORIES:
            cat_idxs.append(position)
            cat_dims.append(values.n_unique())
            values = values.rank("dense") - 1
        columns.append(values.to_numpy().astype(np.float64))
    X, y = np.column_stack(columns), table[LABEL].to_numpy()
    (X_train, y_train), (X_valid, y_valid), (X_test, y_test) = ((X[part == k], y[part == k]) for k in range(3))

    clf = TabNetClassifier(
        cat_idxs=cat_idxs,
        cat_dims=cat_dims,
        cat_emb_dim=2,
        seed=seed,
        optimizer_fn=torch.optim.Adam,
        optimizer_params={"lr": 2e-2},
        scheduler_params={"step_size": 50, "gamma": 0.9},
        scheduler_fn=torch.optim.lr_scheduler.StepLR,
        mask_type="entmax",
        grouped_features=[[0, 1, 2], [8, 9, 10]],
    )
    started, used = time.perf_counter(), time.process_time()
    clf.fit(
        X_train=X_train,
        y_train=y_train,
        eval_set=[(X_train, y_train), (X_valid, y_valid)],
        eval_name=["train", "valid"],
        eval_metric=["auc"],
        max_epochs=epochs,
        patience=20,
        batch_size=1024,
        virtual_batch_size=128,
        num_workers=0,
        weights=1,
        drop_last=False,
        augmentations=ClassificationSMOTE(p=0.2),
    )
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - used
    auc = roc_auc_score(y_test, clf.predict_proba(X_test)[:, 1])
    valid_auc = roc_auc_score(y_valid, clf.predict_proba(X_valid)[:, 1])
    assert np.isclose(valid_auc, np.max(clf.history["valid_auc"]), atol=1e-6)
    with tempfile.TemporaryDirectory() as folder:
        saved = clf.save_model(f"{folder}/census")
        loaded = TabNetClassifier()
        loaded.load_model(saved)
    assert auc == roc_auc_score(y_test, loaded.predict_proba(X_test)[:, 1])
    assert set(loaded.predict(X_test)) <= set(y_train)
    importance, masks = clf.explain(X_test)
    assert importance.shape == masks[0].shape == X_test.shape
    assert np.isclose(clf.feature_importances_.sum(), 1)
    epochs = len(clf.history["loss"])
    return {"auc": float(auc), "seconds": seconds, "cpu_seconds": cpu_seconds, "epochs": epochs, "rows": len(X_train)}


def read(path: Path) -> pl.DataFrame:
    """Adult's columns, numbers as such."""
    table = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path)
    numbers = [name for name in table.columns if table[name].cast(pl.Float64, strict=False).null_count() == 0]
    return table.with_columns(pl.col(numbers).cast(pl.Float64))


def generated(rows: int) -> pl.DataFrame:
    """A table of Adult's shape: 14 columns, 8 of them text, and a label that follows some of them."""
    draw = np.random.default_rng(0)
    columns: dict[str, Any] = {}
    risk = draw.normal(size=rows)
    for position, words in enumerate((73, 9, 0, 16, 16, 7, 15, 6, 5, 2, 119, 92, 94, 42)):
        value = draw.integers(0, words, rows) if words else draw.normal(190_000, 100_000, rows)
        risk += draw.normal() * (value - value.mean()) / value.std()
        columns[f"x{position}"] = [f"w{v}" for v in value] if words in (9, 16, 7, 15, 6, 5, 2, 42) else value
    return pl.DataFrame({**columns, LABEL: np.where(risk > np.quantile(risk, 0.76), ">50K", "<=50K")})


if __name__ == "__main__":
    main()
