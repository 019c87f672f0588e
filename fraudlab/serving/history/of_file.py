"""The past of rows in a file, for ``python -m fraudlab.predict``: from a history, or of the file itself."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import polars as pl
from tqdm import tqdm

from fraudlab.errors import UserError
from fraudlab.features.contract import with_features
from fraudlab.features.live import Event, Live, live
from fraudlab.features.narrow import NARROW, narrowed_rows
from fraudlab.serving.history import History
from fraudlab.serving.history.sqlite_file import columns_of

if TYPE_CHECKING:
    from fraudlab.bundle import Bundle

ITSELF = "input"
"""In place of a history's address: the file itself."""
_AT_ONCE = 50  # rows of one step of a store
_BLOCK = 5_000  # rows whose features are Python's objects, which take many times the room
_log = logging.getLogger(__name__)


def past_of(bundle: "Bundle", address: str) -> Callable[[pl.LazyFrame], pl.DataFrame]:
    """What gives the features of the past of a file's rows, in the file's order.

    Args:
        bundle: whose features.
        address: of a history, to which nothing is added; ``input``: rows see those of the file that stand before them
            by time, then id, as rows of a table do.

    Raises:
        UserError: the bundle's features have no past that is kept, or the history cannot be used.
    """
    features = live(bundle.features, f"bundle {bundle.path}")
    history = None if address == ITSELF else History.open(address, features)

    def made(rows: pl.LazyFrame) -> pl.DataFrame:
        own = [name for name in rows.collect_schema() if name not in features.computed]
        table = bundle.reading.with_times(rows.select(own)).collect()
        if NARROW in bundle.lookups:
            narrow = table.select(name for name in bundle.lookups[NARROW].tolist() if name in table.columns)
            table = table.with_columns(narrowed_rows(narrow, bundle.lookups).get_columns())
        return _of_itself(bundle, features, table) if history is None else _looked_up(features, history, table)

    return made


def _of_itself(bundle: "Bundle", features: Live, table: pl.DataFrame) -> pl.DataFrame:
    label, *label_time = features.labels
    time, id_ = features.layout.time, features.layout.id
    if label not in table.columns:
        table = table.with_columns(pl.lit(None, pl.Int8).alias(label))
    told = table[label].cast(pl.Float64, strict=False)  # not yet to integers, of which 0.9 would be 0
    if told.null_count() > table[label].null_count() or not told.drop_nulls().is_in([0.0, 1.0]).all():
        raise UserError(f"column {label} has other values than 0 and 1; write 1 for fraud, 0 for the rest")
    absent = [pl.lit(None, pl.Datetime("us")).alias(name) for name in label_time if name not in table.columns]
    table = table.with_columns(told.cast(pl.Int8), *absent)
    order = table.select(pl.arg_sort_by([time, *([id_] if id_ in table.columns else [])])).to_series()
    found = with_features(bundle.features, table[order].lazy()).select(features.computed)
    _log.warning(
        "the past of each row is what the file has before it, from %s to %s; %s",
        *(table[time].min(), table[time].max()),
        f"{told.count():,} rows have a label, and the others count as genuine after the label delay"
        if told.count()
        else f"no row has a label in a column {label}, so all count as genuine after the label delay",
    )
    return found[order.arg_sort()]


def _looked_up(features: Live, history: History, table: pl.DataFrame) -> pl.DataFrame:
    layout = features.layout
    rows = features.events(table).select("id", "time", *columns_of(layout))
    keys, numbers = len(layout.keys), len(layout.numbers)
    own = layout.id in table.columns
    schema = dict.fromkeys(features.computed, pl.Float64)
    frames = [pl.DataFrame(schema=schema)]
    found: list[Any] = []
    there = 0
    with tqdm(total=len(rows), unit=" rows", desc="history", unit_scale=True, disable=None) as bar:
        for start in range(0, len(rows), _AT_ONCE):
            some = [
                Event(
                    *(id_ if own else None, time, tuple(of[:keys])),
                    *(tuple(of[keys : keys + numbers]), tuple(of[keys + numbers :])),
                )
                for id_, time, *of in rows[start : start + _AT_ONCE].iter_rows()
            ]
            found += history.features_of_events(some, table[layout.time][start : start + _AT_ONCE].to_list())
            there += history.has([event.id for event in some if event.id is not None])
            if len(found) >= _BLOCK:
                frames.append(pl.DataFrame(found, schema))
                found.clear()
            bar.update(len(some))
    history.close()
    _log.warning(
        "the past of each row is what %s has before it; %s of the file's %s rows are in it; the others are not added, "
        "so no row sees them",
        *(history.shown, f"{there:,}", f"{len(rows):,}"),
    )
    return pl.concat([*frames, pl.DataFrame(found, schema)])
