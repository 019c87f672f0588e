"""Checks of a split of the user's own table: the label, copies on both sides, columns that alone predict the label."""

import logging
from collections.abc import Iterator
from itertools import chain

import numpy as np
import polars as pl

from fraudlab.config.overrides import literal
from fraudlab.data.prepared import PreparedTable
from fraudlab.data.splits.contract import RowSplit
from fraudlab.metrics.ranking import roc_auc

log = logging.getLogger(__name__)

_ROWS = 200_000  # most rows checked in each part
_LEAST_COPIES = 0.01  # share of the test rows
_TELLS = 0.98  # AUC of one column
_FRAUDS = 5


def warn_of(table: PreparedTable, split: RowSplit) -> None:
    """Warn of what makes the metrics of this split too good; only for tables of ``data=table``."""
    for said in too_good(table, split):
        log.warning(said)


def too_good(table: PreparedTable, split: RowSplit) -> Iterator[str]:
    """What :func:`warn_of` says."""
    checks = (_mostly_frauds, _copies, _tell_alone)
    return chain.from_iterable(check(table, split) for check in checks if table.schema.reading is not None)


def _mostly_frauds(table: PreparedTable, split: RowSplit) -> Iterator[str]:
    share = table.label.to_numpy()[split.train].mean()
    if share > 0.5:
        yield (
            f"{literal('data.label', table.schema.label)}: {share:.0%} of the training rows are frauds, over half; "
            "if it tells the genuine ones, say which values are frauds with data.fraud_values"
        )


def _copies(table: PreparedTable, split: RowSplit) -> Iterator[str]:
    # A copy has the same card and terminal too: rows with few coarse inputs agree by chance.
    who_and_where = table.schema.names("card", "terminal")
    names = [*dict.fromkeys([*table.categorical, *table.numeric, *who_and_where]), table.schema.label]
    if len(names) < 3 or not len(split.test):
        return
    learnt = table.rows(split.train, names).hash_rows().unique()
    copies = int(table.rows(split.test, names).hash_rows().is_in(learnt.implode()).sum())
    if copies >= _LEAST_COPIES * len(split.test):
        yield (
            f"{copies:,} of {len(split.test):,} test rows are copies of training rows (the same inputs and label), "
            "which makes the metrics too good; data.copies=leave_out keeps one of each"
        )


def _tell_alone(table: PreparedTable, split: RowSplit) -> Iterator[str]:
    train, held_out = (rows[:: max(1, len(rows) // _ROWS)] for rows in (split.selection_train, split.validation))
    label = table.label.to_numpy()
    if min(label[train].sum(), label[held_out].sum()) < _FRAUDS:
        return
    found = []
    learnt_from, judged = table.columns(train), table.columns(held_out)
    for name in table.numeric:
        value = learnt_from[name].cast(pl.Float64).fill_nan(None)
        auc = roc_auc(label[train], value.fill_null(value.min() or 0.0).to_numpy())
        found.append((max(auc, 1 - auc), name))
    for name in table.categorical:
        learnt = pl.DataFrame({"word": learnt_from[name].cast(pl.String), "label": label[train]})
        share = learnt.group_by("word").agg(pl.col("label").mean())
        words = judged[name].cast(pl.String).to_frame("word")
        score = words.join(share, on="word", how="left", nulls_equal=True, maintain_order="left")["label"]
        found.append((roc_auc(label[held_out], score.fill_null(np.mean(label[train])).to_numpy()), name))
    telling = [(auc, name) for auc, name in sorted(found, reverse=True) if auc >= _TELLS]
    if telling:
        names = ", ".join(name for _, name in telling)
        yield (
            f"columns that alone predict the label: {', '.join(f'{name} (AUC {auc:.3f})' for auc, name in telling)}; "
            f"if they are known only after the fraud, exclude them from the inputs: data.carried=[{names}]"
        )
