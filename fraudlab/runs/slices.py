"""The slices of a run: which rows its setting ``slices`` names, and what is measured of them."""

import difflib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraudlab.data.prepared import PreparedTable
from fraudlab.data.splits.contract import Rows, RowSplit
from fraudlab.errors import UserError
from fraudlab.files import replacing, write_json
from fraudlab.metrics.operating_points import threshold_for_budget
from fraudlab.metrics.ranking import Ranking
from fraudlab.metrics.slices import of_slice
from fraudlab.runs.folder import RunFolder
from fraudlab.runs.predictions import groups_of

BUDGET = 10.0
"""Alerts per 1,000 at whose threshold slices are compared."""
_MOST = 12  # values of a slice that are told each for itself, the most frequent ones
_MISSING, _OTHERS = "missing", "other values"


def check_slices(table: PreparedTable, slices: Mapping[str, Sequence[Any]]) -> None:
    """Refuse a slice of a column that is not there or has no numbers where bins are asked for.

    Raises:
        UserError: says so.
    """
    columns = table.types()
    for name, (column, *edges) in slices.items():
        if column not in columns:
            near = difflib.get_close_matches(str(column), columns, n=3, cutoff=0.5) or list(columns)[:10]
            raise UserError(f"slices.{name}: there is no column {column}; did you mean {' or '.join(near)}?")
        if edges and not columns[column].is_numeric():
            raise UserError(f"slices.{name}: {column} is not numeric and has no bins; write slices.{name}=[{column}]")


def rows_of(split: RowSplit, part: str) -> Rows:
    """The rows of the predictions of ``val``, ``test`` or ``recent``."""
    rows: Rows = getattr(split, {"val": "validation"}.get(part, part))
    return rows


def write_slices(run: RunFolder, part: str, table: PreparedTable, rows: Rows, slices: Mapping[str, Any]) -> None:
    """Write ``slices/<part>.parquet``: of each row of the predictions, in their order, its value in each slice."""
    if not slices:
        return
    found = []
    for name, (column, *edges) in slices.items():
        value = table.rows(rows, [column])[column]
        words = _binned(value, edges) if edges else value.cast(pl.String).fill_null(_MISSING)
        found.append(words.alias(name))
    with replacing(_path(run, part)) as aside:
        pl.DataFrame(found).write_parquet(aside)


def slices_in(run: RunFolder, part: str) -> pl.DataFrame:
    """What :func:`write_slices` wrote of a part; without columns where it wrote nothing."""
    path = _path(run, part)
    return pl.read_parquet(path, glob=False) if path.is_file() else pl.DataFrame()


def _path(run: RunFolder, part: str) -> Path:
    return run.path / "slices" / f"{part}.parquet"


def _binned(value: pl.Series, edges: Sequence[float]) -> pl.Series:
    """The bin of each number in words, from each edge on."""
    limits = [f"{edge:g}" for edge in edges]
    between = [f"{low} to below {high}" for low, high in pairwise(limits)]
    names = np.array([f"below {limits[0]}", *between, f"{limits[-1]} and above", _MISSING])
    number = value.cast(pl.Float64).fill_nan(None)
    place = np.searchsorted(np.array(edges, float), number.fill_null(0.0).to_numpy(), side="right")
    return pl.Series(names[np.where(number.is_null().to_numpy(), len(edges) + 1, place)])


def threshold_part(run: RunFolder) -> str:
    """``recent``, rows before the test that the tested model has not learnt from; ``val`` where there are none."""
    return "recent" if run.predictions_path("recent").is_file() else "val"


def threshold_of(run: RunFolder) -> float:
    """The lowest score that keeps to :data:`BUDGET` on the rows of :func:`threshold_part`."""
    score = run.predictions(threshold_part(run))["score"].to_numpy().astype(np.float64)
    return threshold_for_budget(Ranking(np.zeros(len(score)), score), BUDGET)


def measured(
    values: pl.DataFrame,
    label: NDArray[Any],
    flagged: NDArray[np.bool_],
    group: NDArray[np.int64],
    score: NDArray[Any] | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Of each slice, its values with their metrics, as :func:`fraudlab.metrics.slices.of_slice` gives them.

    Args:
        values: of each row its value in each slice.
        label: see there, as what follows.
        flagged: whether there is an alert.
        group: numbers of the groups of rows that belong together.
        score: or None.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for name in values.columns:
        column = values[name]
        shown = column.value_counts(sort=True)[name].head(_MOST).to_list()
        shown = sorted(shown, key=lambda word: (word == _MISSING, _order(word)))
        inside = {word: (column == word).to_numpy() for word in shown}
        if column.n_unique() > len(shown):
            inside[_OTHERS] = ~column.is_in(shown).to_numpy()
        found[name] = [{"value": word, **of_slice(label, flagged, group, rows, score)} for word, rows in inside.items()]
    return found


def _order(word: str) -> tuple[float, str]:
    """Bins and numbers by their size, other words by the alphabet."""
    below, first = word.startswith("below "), word.removeprefix("below ").split(" ")[0]
    try:
        return float(first) - (1e-9 if below else 0.0), word
    except ValueError:
        return float("inf"), word


def measure_slices(run: RunFolder, predictions: Mapping[str, pl.DataFrame]) -> None:
    """Write ``slices.json``: the slices of the test or, where there is none, the validation."""
    part = "test" if "test" in predictions else "val"
    values, rows = slices_in(run, part), predictions[part]
    if not values.width:
        return
    threshold = threshold_of(run)
    label, score = rows["label"].to_numpy(), rows["score"].to_numpy().astype(np.float64)
    found = measured(values, label, score >= threshold, groups_of(rows, None)[1], score)
    about = {"part": part, "alerts_per_1000": BUDGET, "threshold": threshold}
    write_json(run.path / "slices.json", {**about, "slices": found})
