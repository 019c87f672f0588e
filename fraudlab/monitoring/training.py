"""A training table of what was recorded and told."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import yaml

from fraudlab.errors import UserError
from fraudlab.files import replacing, write_text
from fraudlab.monitoring import labels, records
from fraudlab.monitoring.journal import CONTRACT

_OWN = ("label", "label_time", "label_source", "decision", "propensity")
_ROLES = ("id", "time", "card", "terminal", "amount")
_KINDS = ("categorical", "numeric", "carried")


@dataclass(frozen=True)
class Table:
    """What was written.

    Attributes:
        table, experiment: the files.
        rows: of the table.
        frauds: among them.
        assumed: rows without a label that count as genuine, since the delay is over.
        immature: rows that were left out, younger than the delay, whether or not somebody said something of them.
    """

    table: Path
    experiment: Path
    rows: int
    frauds: int
    assumed: int
    immature: int


def write_table(
    folder: Path, out: Path, moment: datetime, clock: labels.Clock = "told_at", delay_days: int = 7
) -> Table:
    """Write ``training.parquet`` and ``experiment/training.yaml``, which trains on it.

    A row a transaction that was scored before ``moment`` and is ``delay_days`` old then. Younger ones are left out,
    told or not: fraud is told early, so that nearly all of those with a label would be frauds.

    A row has the fields of its input, and ``label`` (0 or 1), ``label_time`` (when it became known), ``label_source``
    (null: nobody says anything, so that it counts as genuine from ``delay_days`` on, or from when its label was taken
    back), ``decision`` and ``propensity`` (of being recorded). A name that the input has too
    ends with an underscore.

    Args:
        folder: of the record.
        out: folder to write to.
        moment: labels are those that were known then, see :func:`.labels.as_of`.
        clock: which of a label's times says when it became known.
        delay_days: age at which a transaction that nobody said anything of counts as genuine.

    Raises:
        UserError: there is no record, no transaction of it is old enough, or ``out`` has a table already.
    """
    table, experiment = out / "training.parquet", out / "experiment" / "training.yaml"
    if table.exists():
        raise UserError(f"{table} exists; choose another folder")
    return records.settled(folder, lambda: _written(folder, table, experiment, moment, clock, delay_days))


def _written(
    folder: Path, table: Path, experiment: Path, moment: datetime, clock: labels.Clock, delay_days: int
) -> Table:
    contract = _contract(folder)
    moment = records.in_utc(moment)
    rows = records.scan(folder, stop=moment if clock == "told_at" else None)
    fields = rows.collect_schema()["input"]
    assert isinstance(fields, pl.Struct)
    inputs = [each.name for each in fields.fields]
    names = {name: _free(name, inputs) for name in _OWN}
    known = labels.as_of(folder, moment, clock=clock, taken_back=True)
    own_time = pl.coalesce(pl.col("transaction_time").dt.replace_time_zone("UTC"), "scored_at")
    over = own_time + timedelta(days=delay_days)
    said = pl.col("fraud").is_not_null()
    told = pl.max_horizontal("event_time", "told_at") if clock == "told_at" else pl.col("event_time")
    joined = labels.with_labels(rows, known).with_columns(mature=over <= moment)
    time = next((name for name, role in contract["roles"].items() if role == "time" and name in inputs), None)
    dated = time is not None and fields.to_schema()[time] == pl.String
    input_columns = [
        pl.col("transaction_time").alias(name) if dated and name == time else pl.col("input").struct.field(name)
        for name in inputs
    ]
    made = {
        "label": pl.coalesce("fraud", False).cast(pl.Int8),
        "label_time": pl.when(said).then(told).otherwise(pl.max_horizontal(over, told)).dt.replace_time_zone(None),
        "label_source": pl.when(said).then("source"),
        "decision": pl.col("decision"),
        "propensity": 1 / pl.col("sample_weight"),
    }
    counts = joined.select(
        rows=pl.col("mature").sum(),
        frauds=(pl.col("mature") & pl.col("fraud")).sum(),
        assumed=(pl.col("mature") & ~said).sum(),
        immature=(~pl.col("mature")).sum(),
    )
    found = counts.collect().row(0, named=True)
    if not found["rows"]:
        raise UserError(
            f"{folder} has no transaction that was {delay_days} days old at {moment:%Y-%m-%d %H:%M}, "
            f"{found['immature']:,} younger ones; give a later as_of or a shorter label_delay_days"
        )
    flat = joined.filter("mature").select(*input_columns, *(made[name].alias(names[name]) for name in _OWN))
    with replacing(table) as aside:
        flat.sink_parquet(aside)
    write_text(experiment, _experiment(table, contract, fields.to_schema(), names, delay_days, dated=dated))
    return Table(table, experiment, **found)


def _experiment(
    table: Path, contract: dict[str, Any], types: Any, names: dict[str, str], delay_days: int, *, dated: bool
) -> str:
    roles = {name: role for name, role in contract["roles"].items() if name in types}
    data: dict[str, Any] = {"path": str(table.absolute()), "label": names["label"]}
    data |= {role: name for name, role in roles.items() if role in _ROLES}
    for kind in _KINDS:
        if of_kind := [name for name, role in roles.items() if role == kind]:
            data[kind] = of_kind
    own = ["label_source", "decision", "propensity"]
    if dated:
        data["label_time"] = names["label_time"]
    else:  # the table's time counts from no known day
        own.append("label_time")
    data["ignored"] = [names[name] for name in own]
    split = "time_fraction" if "time" in data else "random"
    settings = {
        "defaults": [{"override /data": "table"}, {"override /features": "columns"}, {"override /split": split}],
        "label_delay_days": delay_days,
        "data": data,
    }
    return "# @package _global_\n" + yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)


def _contract(folder: Path) -> dict[str, Any]:
    try:
        return dict(orjson.loads((folder / CONTRACT).read_bytes()))
    except (OSError, orjson.JSONDecodeError) as error:
        raise UserError(f"{folder} has no {CONTRACT}, which a server writes that records there") from error


def _free(name: str, taken: list[str]) -> str:
    while name in taken:
        name += "_"
    return name
