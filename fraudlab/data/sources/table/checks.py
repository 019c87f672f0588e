"""What a table must hold to be trained on."""

from collections.abc import Mapping

import polars as pl

from fraudlab.config import TableConfig
from fraudlab.config.overrides import literal_text
from fraudlab.data.sources.table import times
from fraudlab.data.sources.table.names import quoted, to_type
from fraudlab.data.sources.table.roles import ROW_ID, holds_text
from fraudlab.errors import UserError
from fraudlab.features.values import is_text
from fraudlab.schema import Role


def check(
    frame: pl.LazyFrame, kept: Mapping[str, Role], values: Mapping[str, pl.Expr], config: TableConfig
) -> dict[str, int]:
    """Refuse values that training cannot use; return the number of missing values of each column, in one pass.

    Args:
        frame: the table.
        kept: the role of each column.
        values: what :func:`.columns.value_of` gives for each.
        config: the settings.
    """
    _refuse_bytes(frame, kept)
    id_ = config.id or ROW_ID
    text = [name for name, dtype in frame.collect_schema().items() if is_text(dtype)]
    parsed = [
        name for name in kept if name in text and kept[name] in ("time", "label_time", "numeric", "amount", "weight")
    ]
    unread = (pl.col(name).filter(pl.col(name).is_not_null() & values[name].is_null()).first() for name in parsed)
    types = frame.select(value.alias(name) for name, value in values.items()).collect_schema()
    finite = [name for name in kept if kept[name] in ("time", "amount", "weight") and types[name].is_float()]
    infinite = (pl.when(values[name].is_infinite().any()).then(pl.lit(name)) for name in finite)
    facts = frame.select(
        rows=pl.len(),
        missing=pl.struct(value.null_count().alias(name) for name, value in values.items()),
        unread=pl.struct(pl.lit(0), *(first.cast(pl.String) for first in unread)),
        doubled=pl.col(id_).filter(pl.col(id_).is_duplicated()).first(),
        infinite=pl.coalesce(*infinite, pl.lit(None, pl.String)),
        lightest=pl.lit(0.0) if config.weight is None else values[config.weight].min().cast(pl.Float64),
    ).collect(engine="streaming").row(0, named=True)  # fmt: skip
    if not facts["rows"]:
        raise UserError(f"data.path={config.path} has no rows")
    for name, value in facts["unread"].items():
        if name in parsed and value is not None:
            raise UserError(
                f"data.{kept[name]}={name}: {times.why_unread(value, config.time_format, config.time_zone)}"
                if kept[name] in ("time", "label_time")
                else f"column {name} is {kept[name]} but holds {value!r}, which is not a number; if it means missing, "
                "add it to data.missing_values, else give the column another role"
            )
    if (name := facts["infinite"]) is not None:
        raise UserError(
            f"data.{kept[name]}={name} holds infinite values; correct or drop these rows, or derive a column that "
            "has none with data.derive"
        )
    missing: dict[str, int] = facts["missing"]
    for key, required in (("id", id_), ("time", config.time), ("weight", config.weight)):
        if required is not None and missing[required]:
            raise UserError(
                f"data.{key}={required} is missing in {missing[required]} rows; fill it in, or leave these rows out: "
                f"{to_type('data.where', f'{quoted(required)} IS NOT NULL')}"
            )
    if facts["lightest"] < 0:
        assert config.weight is not None
        derived = to_type("+data.derive.row_weight", f"GREATEST({quoted(config.weight)}, 0)")
        raise UserError(
            f"data.weight={config.weight} holds {facts['lightest']}; a weight is 0 or more. Correct it, or derive one: "
            f"{derived} data.weight=row_weight"
        )
    if facts["doubled"] is not None:
        raise UserError(
            f"data.id={id_}: {facts['doubled']} occurs in several rows; name a column with unique values, or none "
            "(data.id=null numbers the rows)"
        )
    return missing


def _refuse_bytes(frame: pl.LazyFrame, kept: Mapping[str, Role]) -> None:
    """Refuse bytes that are not text, as those of a UUID, in a column that is to be text."""
    for name, dtype in frame.collect_schema().items():
        if dtype == pl.Binary and name in kept and not holds_text(frame, name):
            raise UserError(
                f"column {name} is {kept[name]} but holds bytes that are not text; write them as text in the file, "
                f"e.g. as hexadecimal digits, or leave the column out: data.ignored=[{literal_text(name)}]"
            )
