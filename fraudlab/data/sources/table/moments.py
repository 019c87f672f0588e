"""The time in expressions of ``data.derive`` and ``data.where``, which need its form before the rows are settled."""

from dataclasses import replace

import polars as pl

from fraudlab.config import TableConfig
from fraudlab.data.sources.table import derive, labels, times
from fraudlab.data.sources.table.time_format import TimeFormat


def of(config: TableConfig) -> derive.Time | None:
    """The time by the settings alone, where it is a column of the files."""
    if config.time is None or config.time in config.derive:
        return None
    return derive.Time(config.time, TimeFormat(config.time_format, config.time_unit, config.time_zone))


def read_in(held: pl.LazyFrame, time: derive.Time, config: TableConfig) -> tuple[derive.Time, list[str]] | None:
    """The time as the rows to be kept have it, and notes, where an expression reads it as such."""
    reads = derive.of_time(config.derive, time)
    condition = config.where or "TRUE"
    if not reads and time.read_in(condition) == condition:
        return None
    needed = {*pl.sql_expr(condition).meta.root_names(), config.label}
    if not reads & needed and time.read_in(condition) == condition:
        held = derive.where(derive.derived(held, config.derive, time), config.where)
        if config.unlabelled == "leave_out":
            held = labels.labelled(held, config)[0]
    form, said = times.settle(held, time.column, time.form)
    own = getattr(held.collect_schema()[time.column], "time_zone", None)
    return derive.Time(time.column, replace(form, zone=form.zone or own)), said
