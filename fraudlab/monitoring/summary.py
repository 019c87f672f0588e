"""What is in a record, as text."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from fraudlab.monitoring import journal, labels, records


def summary(folder: Path) -> str:
    """What is in the record, as text: a line a day, the journal, the labels.

    Raises:
        UserError: there is none.
    """
    return records.settled(folder, lambda: _summary(folder))


def _summary(folder: Path) -> str:
    of = records.rows(folder).with_columns(scored_at_day=pl.col("scored_at").dt.date().cast(pl.String))
    counts = of.group_by("scored_at_day", "bundle_version").agg(rows=pl.len(), since=pl.col("scored_at").min())
    days = (
        counts.sort("since")
        .group_by("scored_at_day", maintain_order=True)
        .agg(pl.col("rows").sum(), bundles=pl.col("bundle_version").unique(maintain_order=True).str.join(", "))
        .sort("scored_at_day")
        .collect()
    )
    lines = [f"{'day':12}{'rows':>12}{'MiB':>10}  bundles"]
    for day, rows, bundles in days.iter_rows():
        size = sum(path.stat().st_size for path in folder.glob(f"day={day}/*.parquet"))
        lines.append(f"{day:12}{rows:12,}{size / 2**20:10,.1f}  {bundles}")
    once = records.scan(folder).select(pl.len()).collect().item()
    waiting = sum(path.stat().st_size for path in folder.glob(f"{journal.FOLDER}/*/*.*"))
    lines.append(f"{'all':12}{days['rows'].sum():12,}, {once:,} without those that were sent again")
    lines.append(f"{'journal':12}{'':12}{waiting / 2**20:10,.1f}  (not in a day's file yet)")
    return "\n".join([*lines, *label_lines(folder)])


def label_lines(folder: Path) -> list[str]:
    """What was told of the transactions of the record at ``folder``, a line each."""
    return records.settled(folder, lambda: list(_label_lines(folder)))


def _label_lines(folder: Path) -> Iterator[str]:
    said = labels.told(folder)
    now = datetime.now(UTC)
    known = labels.known(said, now)
    here = records.scan(folder).select("transaction_id", "request_id", "position")
    several = labels.of_several(here, known).height
    unknown = (
        known.height
        - several
        - labels.with_labels(here, known)
        .filter(pl.col("fraud").is_not_null())
        .select(pl.struct("transaction_id", "request_id", "position").n_unique())
        .collect()
        .item()
    )
    future = said.filter(pl.col("event_time") > now).height
    frauds = known["fraud"].sum()
    yield f"{'labels':12}{said.height:12,} told; {known.height:,} transactions have one, {frauds:,} frauds"
    yield f"{'':24} {unknown:,} of transactions that the record lacks"
    yield f"{'':24} {several:,} of a request id and position that several transactions share (they apply to none)"
    yield f"{'':24} {known['contradicted'].sum():,} contradicted (the latest event_time counts; of equal ones, fraud)"
    yield f"{'':24} {future:,} in the future (they count from then on)"
