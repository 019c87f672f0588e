"""What ``python -m fraudlab.prepare`` prints: what was read, which columns drift, what was written."""

from pathlib import Path

import numpy as np
import polars as pl

from fraudlab.data.batches import Batch
from fraudlab.data.prepared import PreparedTable
from fraudlab.features.encoder import TableEncoder
from fraudlab.metrics.drift import LEVEL, adjusted, category_counts, number_counts, of_change, stability_index

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
    found: dict[str, tuple[float, int]] = {}
    for names, array, counted in (
        (encoder.categorical, batch.categorical, category_counts),
        (encoder.numeric_names, batch.numeric, number_counts),
    ):
        halves = array[early].numpy(), array[late].numpy()
        for i, name in enumerate(names):
            before, now = counted(halves[0][:, i], halves[1][:, i])
            found[name] = float(stability_index(before, now)), int(((before > 0) | (now > 0)).sum())
    index, cells = (np.array(each) for each in zip(*found.values(), strict=True))
    moved = adjusted(of_change(cells, index, len(late), len(early))) <= LEVEL
    drifted = sorted(((index[i], name) for i, name in enumerate(found) if moved[i]), reverse=True)
    lines = [f"drift      {len(drifted)} of {len(found)} columns differ between the halves of the training rows"]
    lines[0] += f" (Benjamini-Hochberg, {LEVEL:.0%}){'; stability index:' if drifted else ''}"
    return lines + [f"             {value:8.4f}  {name}" for value, name in drifted[:_SHOWN]]


def written_summary(paths: list[Path]) -> list[str]:
    """Lines on files and folders with their sizes."""
    lines: list[str] = []
    for path in paths:
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        lines.append(f"{'written' if not lines else '':10} {path} ({size / 2**20:,.1f} MiB)")
    return lines
