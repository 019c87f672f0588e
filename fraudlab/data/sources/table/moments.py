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
    return derive.Time(config.time, form_of(config))


def form_of(config: TableConfig) -> TimeFormat:
    """How the settings say that the time is read."""
    return TimeFormat(config.time_format, config.time_unit, config.time_zone)


def read_in(held: pl.LazyFrame, time: derive.Time, config: TableConfig) -> tuple[derive.Time, list[str]] | None:
    """The time as the rows to be kept have it, and notes, where an expression reads it as such."""
    reads = derive.of_time(config.derive, time)
    in_where = time.is_read_by(config.where)
    if not reads and not in_where:
        return None
    needed = {*pl.sql_expr(config.where or "TRUE").meta.root_names(), config.label}
    if not reads & needed and not in_where:
        held = derive.where(derive.derived(held, config.derive, time), config.where)
        if config.unlabelled == "leave_out":
            held = labels.labelled(held, config)[0]
    form, said = times.settle(held, time.column, time.form)
    own = getattr(held.collect_schema()[time.column], "time_zone", None)
    return derive.Time(time.column, replace(form, zone=form.zone or own)), said
