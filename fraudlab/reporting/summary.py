"""What ``python -m fraudlab.prepare`` prints: what was read, which columns drift, what was written."""

from pathlib import Path

import numpy as np
import polars as pl

from fraudlab.data.batches import Batch
from fraudlab.data.prepared import PreparedTable
from fraudlab.features.encoder import TableEncoder
from fraudlab.metrics.drift import ACT, WATCH, category_stability_index, population_stability_index

_SAMPLE = 20_000  # rows of each half
_SHOWN = 10


def table_summary(table: PreparedTable) -> list[str]:
    """Lines on the raw table: rows, columns, frauds, time, missing values, inputs."""
    schema = table.schema
    label = table.label
    frauds, rows = int(label.sum()), len(label)
    inputs = schema.names("amount", "categorical", "numeric")
    missing = table.source.select(pl.col(inputs).null_count()).collect().row(0)
    lines = [
        f"rows       {rows:,}{', simulated data' if schema.simulated else ''}",
        f"columns    {len(schema.columns)}",
        f"frauds     {frauds:,} ({frauds / rows:.3%})",
    ]
    if (time := table.column(schema.time)) is not None:
        lines.append(f"time       {_moment(time[0])} to {_moment(time[-1])}")
    most = sorted(zip(missing, inputs, strict=True), reverse=True)[:3]
    named = ", ".join(f"{name} {count / rows:.0%}" for count, name in most if count)
    lines.append(
        f"missing    {sum(missing) / (rows * len(inputs)):.1%} of cells" + (f"; most: {named}" if named else "")
    )
    lines.append(f"inputs     {len(table.numeric)} numeric, {len(table.categorical)} categorical")
    return lines


def _moment(time: object) -> str:
    return f"day {time / 86400:.1f}" if isinstance(time, int | float) else str(time)


def drift_summary(batch: Batch, encoder: TableEncoder) -> list[str]:
    """Lines on the columns of training rows, in order of time, whose later half differs from their earlier one."""
    half = len(batch.label) // 2
    early, late = (np.linspace(start, start + half - 1, min(half, _SAMPLE)).astype(int) for start in (0, half))
    found: dict[str, float] = {}
    for names, array, index in (
        (encoder.categorical, batch.categorical, category_stability_index),
        (encoder.numeric_names, batch.numeric, population_stability_index),
    ):
        before, now = array[early].numpy(), array[late].numpy()
        found |= {name: index(before[:, i], now[:, i]) for i, name in enumerate(names)}
    drifted = sorted(((value, name) for name, value in found.items() if value >= WATCH), reverse=True)
    strong = sum(value >= ACT for value, _ in drifted)
    lines = [f"drift      {len(drifted)} of {len(found)} columns of the training rows (stability index >= {WATCH:g}),"]
    lines[0] += f" {strong} strongly (>= {ACT:g})"
    return lines + [f"             {value:6.2f}  {name}" for value, name in drifted[:_SHOWN]]


def written_summary(paths: list[Path]) -> list[str]:
    """Lines on files and folders with their sizes."""
    lines: list[str] = []
    for path in paths:
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        lines.append(f"{'written' if not lines else '':10} {path} ({size / 2**20:,.1f} MiB)")
    return lines
