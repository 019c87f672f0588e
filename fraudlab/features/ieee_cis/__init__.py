"""Features of IEEE-CIS Fraud Detection: the recipe of the competition's strongest public models, in two honest scopes.

The recipe is Chris Deotte's ("XGB Fraud with Magic", Kaggle 2019): a client found from card, address and the day its
account began; D columns freed of their drift with time; shares of values, means, deviations and numbers of different
values by card and by client; cents, e-mail and device parts, time of day. Of the V columns it keeps 120.

In scope ``point_in_time`` a row sees the rows that stand before it in the table, and itself; no label is used at all.
In scope ``transductive`` shares and aggregates are taken over the whole table, later rows included, as the
competition's entries did: comparable with their metrics, and not to be had when a transaction has to be judged.
"""

import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from fraudlab.errors import UserError
from fraudlab.features.contract import Lookups
from fraudlab.features.ieee_cis import record as of_one
from fraudlab.features.ieee_cis.columns import DRIFTING, PAST, PUBLISHED_V, ROW_CATEGORICAL, ROW_NUMERIC
from fraudlab.features.narrow import NARROW, narrow_columns, narrowed, narrowed_rows
from fraudlab.schema import TableSchema

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger(__name__)


class IEEECISFeatures:
    """``features=ieee_cis``.

    Args:
        schema: the table's columns.
        scope: ``point_in_time`` or ``transductive``.
        v_columns: ``published`` for the recipe's 120 V columns, ``all`` for the 339.

    Raises:
        UserError: the table is not IEEE-CIS.
    """

    version = 2

    def __init__(self, schema: TableSchema, scope: str = "point_in_time", v_columns: str = "published") -> None:
        there = {column.name for column in schema.columns}
        if missing := [name for name in ("TransactionDT", "card1", "D15", "V339", "id_38") if name not in there]:
            raise UserError(
                f"features=ieee_cis needs the columns of IEEE-CIS; data={schema.name} lacks {', '.join(missing)}; "
                "use features=columns"
            )
        self.scope = scope
        kept = PUBLISHED_V if v_columns == "published" else tuple(f"V{n}" for n in range(1, 340))
        plain = [
            name for name in schema.names("amount", "numeric") if not name.startswith("V") and name not in DRIFTING
        ]
        self.numeric = (*plain, *kept, *ROW_NUMERIC, *PAST)
        self.categorical = (*schema.names("categorical"), *ROW_CATEGORICAL)

    def parts(self, frame: "pl.LazyFrame") -> "Iterator[pl.DataFrame]":
        from fraudlab.features.ieee_cis import past, row

        yield frame.select(expression.alias(name) for name, expression in row.EXPRESSIONS.items()).collect()
        yield from past.parts(frame, whole=self.scope == "transductive")

    def lookups(self, frame: "pl.LazyFrame") -> dict[str, NDArray[Any]]:
        """The aggregates by key as of the end of ``frame``: arrays of :func:`.past.lookups`, and narrow columns."""
        from fraudlab.features.ieee_cis import past

        return {NARROW: narrow_columns(frame), **past.lookups(frame)}

    def of_record(self, record: Mapping[str, Any], lookups: Lookups) -> dict[str, Any]:
        """The record with the features' columns added."""
        record = narrowed(record, lookups)
        return {**record, **of_one.of_row(record), **of_one.of_past(record, lookups)}

    def of_records(self, records: "pl.DataFrame", lookups: Lookups) -> "pl.DataFrame":
        """The records with the features' columns added."""
        from fraudlab.features.ieee_cis import records as of_many

        records = narrowed_rows(records, lookups)
        return records.hstack(of_many.of_rows(records)).hstack(of_many.of_past(records, lookups))


def make(settings: Mapping[str, Any], schema: TableSchema) -> IEEECISFeatures:
    """``features=ieee_cis``."""
    if settings["scope"] == "transductive":
        log.warning(
            "features.scope=transductive: aggregates see the whole table, rows after the one judged too; "
            "metrics compare with the competition's and cannot be had in use"
        )
    return IEEECISFeatures(schema, settings["scope"], settings["v_columns"])
