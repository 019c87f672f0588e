"""Scores of all transactions in a file, block by block, whatever its size."""

import logging
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from tqdm import tqdm

from fraudlab.bundle.contract import Refused
from fraudlab.bundle.levels import THRESHOLDS, rules_of
from fraudlab.bundle.money import amounts_of
from fraudlab.bundle.rows import RowCheck, check_names
from fraudlab.bundle.runtime import Bundle, load
from fraudlab.bundle.spread import Spread
from fraudlab.data.sources.table.dialect import Layout
from fraudlab.data.sources.table.files import Found, find
from fraudlab.data.sources.table.scan import header, scan
from fraudlab.engines import Engine, InThreads
from fraudlab.errors import UserError
from fraudlab.features.categories import MISSING, UNKNOWN
from fraudlab.features.encoder import Arrays
from fraudlab.files import replacing

log = logging.getLogger(__name__)

_BLOCK = 16_384
_STRETCH = 4 * _BLOCK
_TYPES = {"integer": pl.Int64, "number": pl.Float64, "string": pl.String, "boolean": pl.Boolean, "datetime": pl.String}
_NO_NUMBER = "is not a number; correct it, or leave it empty if it is missing"
_NO_FLAG = "is neither true nor false; correct it, or leave it empty if it is missing"
_MOST_UNSEEN, _LEAST_SEEN = 0.95, 20  # share of a column's words that training lacked, and of how many
_ENDINGS = (".csv", ".parquet")
Made = TypeVar("Made")
Past = Callable[[pl.LazyFrame], pl.DataFrame]


def score_file(
    bundle: Bundle,
    source: str | Path,
    target: Path,
    threads: int = 1,
    past: Past | None = None,
    engine: Engine | None = None,
) -> pl.LazyFrame:
    """Write ``target``: a row for each of ``source``, in its order, with its id, score and level.

    Of a bundle with several members there are ``spread_low`` and ``spread_high``, of one that decides by money a
    ``rule``. Where no row has an id, they have ``row``, from 0. Columns as the bundle's schema names them; others are
    left aside, and optional ones may lack.

    Args:
        bundle: what to score with.
        source: a file, folder, glob or address of any kind that ``data=table`` reads, in the same way.
        target: ``.csv`` or ``.parquet``; written whole or not at all.
        threads: that encode and score, each some rows of its own.
        past: gives the features of the past of all rows, in their order, from the columns of the table, with its labels
            where the file has them; what a row carries already stays.
        engine: where blocks of rows are encoded and scored; ``threads`` of this process by default. Tasks get the rows,
            and read the bundle by its address.

    Returns:
        The written table, lazily.

    Raises:
        UserError: a file is of another kind, cannot be read, has other columns than the bundle, or a row that the
            contract refuses; the message names them.
    """
    if target.suffix not in _ENDINGS:
        raise UserError(f"output={target} is neither CSV nor Parquet by its name (.csv or .parquet)")
    scratch = tempfile.TemporaryDirectory(prefix="fraudlab_")
    try:
        frame, stretch = _scan(bundle, str(source), Path(scratch.name), with_past=past is not None)
        key = next((field["name"] for field in bundle.schema["fields"] if field["role"] == "id"), None)
        ids = pl.lit(0) if key is None else pl.col(key).count()
        rows, known = frame.select(pl.len(), ids.alias("known")).collect(engine="streaming").row(0)
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as parts,
            replacing(target) as aside,
            tqdm(total=rows, unit=" rows", desc="scoring", unit_scale=True) as bar,
        ):
            name, found = key if known else None, None if past is None else past(frame)
            numbered = _blocks(frame, stretch)
            first = next(numbered)
            blocks = _with_past(chain([first], numbered), found)
            scores = (engine or InThreads()).map(_Scoring(bundle, name), blocks, at_once=threads)
            for number, scored in enumerate(scores):
                scored.write_parquet(Path(parts, f"{number:09}.parquet"))
                bar.update(len(scored))
            written = pl.scan_parquet(sorted(Path(parts).iterdir()), glob=False)
            if target.suffix == ".csv":
                written.sink_csv(aside)
            else:
                written.sink_parquet(aside)
        if past is None:
            _warn_of_unseen(bundle, str(source), first[1])
    except pl.exceptions.PolarsError as error:
        raise _unreadable(bundle, str(source), error) from error
    finally:
        scratch.cleanup()
    return pl.scan_csv(target, glob=False) if target.suffix == ".csv" else pl.scan_parquet(target, glob=False)


def _warn_of_unseen(bundle: Bundle, source: str, rows: pl.DataFrame) -> None:
    """Say which columns have hardly a word that occurred in training, by the first ``rows``."""
    if not bundle.encoder.categorical or len(rows) < _LEAST_SEEN:
        return
    arrays = bundle.encoder.transform(bundle.features.of_records(RowCheck(bundle)(rows, 0), bundle.lookups))
    for place, name in enumerate(bundle.encoder.categorical):
        ids = arrays.categorical[:, place]
        known, unseen = int((ids != MISSING).sum()), int((ids == UNKNOWN).sum())
        if known >= _LEAST_SEEN and unseen >= _MOST_UNSEEN * known:
            example = f", such as {rows[name].drop_nulls()[0]!r}" if name in rows.columns else ""
            log.warning(
                "%s: %s of the first %s values of column %s did not occur in training%s: are they spelt differently?",
                source, f"{unseen:,}", f"{known:,}", name, example,
            )  # fmt: skip


def _unreadable(bundle: Bundle, source: str, error: pl.exceptions.PolarsError) -> UserError:
    """Why a file cannot be scored: with the row, if an expression of ``data.derive`` fails there."""
    with tempfile.TemporaryDirectory(prefix="fraudlab_") as scratch:
        try:
            own = bundle.reading.failed(_raw(bundle, source, Path(scratch))[0])
        except (UserError, pl.exceptions.PolarsError):
            own = None
    if own is not None:
        return UserError(f"input={source}: {own}")
    return UserError(f"input={source} cannot be read: {str(error).strip().splitlines()[0]}")


def _scan(bundle: Bundle, source: str, scratch: Path, *, with_past: bool = False) -> tuple[pl.LazyFrame, int | None]:
    """The columns that the bundle's features read; a field that is lacking is null. How many rows are read in one go.

    Of Parquet files Polars decodes all rows ahead of whoever is slower (its issue 28569): they are read in stretches.
    """
    rows, stretch = _raw(bundle, source, scratch, with_past=with_past, say=True)
    return bundle.reading.of_rows(rows), stretch


def _raw(
    bundle: Bundle, source: str, scratch: Path, *, with_past: bool = False, say: bool = False
) -> tuple[pl.LazyFrame, int | None]:
    """:func:`_scan` before the columns are read in their types; ``say``: check them, and log notes."""
    fields = {field["name"]: field for field in bundle.schema["fields"]}
    files = find("input", source, scratch)
    layout = _layout(bundle, files, fields, scratch)
    raw = scan(files, layout, fields, scratch)
    have = raw.frame.collect_schema()
    labels = getattr(bundle.features, "labels", ()) if with_past else ()
    frame = raw.frame.select(name for name in (*fields, *labels) if name in have)
    if say:
        for note in raw.notes:
            log.warning(note)
        check_names(bundle, source, list(have), history=with_past)
        _check(bundle, source, frame)
    lacking = [name for name in fields if name not in have]
    lacking_ones = (pl.lit(None, _TYPES[fields[name]["type"]]).alias(name) for name in lacking)
    return frame.with_columns(lacking_ones), _STRETCH if files[0].kind == "parquet" else None


def _layout(bundle: Bundle, files: Sequence[Found], fields: Collection[str], scratch: Path) -> Layout:
    """As the file shows it; as the training table was laid out where it shows none of the bundle's fields."""
    known = Layout(**{**bundle.reading.layout, "columns": tuple(bundle.reading.layout.get("columns", ()))})
    try:
        shown = Layout(sheet=known.sheet if files[0].kind == "excel" else None)
        if not set(fields).isdisjoint(header(files[0], shown, fields, scratch)):
            return shown
    except UserError:
        if known == Layout():
            raise
    return known


def _check(bundle: Bundle, source: str, frame: pl.LazyFrame) -> None:
    """Refuse what is no number or no time where one belongs, with the row."""
    types = frame.collect_schema()
    for field in bundle.schema["fields"]:
        kind, dtype = field["type"], types.get(field["name"], pl.Null())
        if kind in ("integer", "number", "boolean") and (
            dtype.is_temporal() or dtype.is_nested() or dtype == pl.Binary
        ):
            raise UserError(f"input={source}: column {field['name']} has type {dtype} and must be {kind}; convert it")
    flags = [f["name"] for f in bundle.schema["fields"] if f["type"] == "boolean"]
    unread = {
        name: (wrong, _NO_FLAG if name in flags else _NO_NUMBER)
        for name, wrong in bundle.reading.raw.unread(types).items()
    }
    for name in flags:
        if name in types and types[name].is_numeric():
            unread[name] = (~pl.col(name).fill_null(0).is_in([0, 1]), _NO_FLAG)
    if (time := bundle.reading.unread_time(types)) is not None:
        unread[time[0]] = (time[1], f"{bundle.reading.no_time}; correct it")
    if not unread:
        return
    first = {name: wrong.arg_max().alias(name) for name, (wrong, _) in unread.items()}
    found = frame.select(*first.values(), *(wrong.any().alias(f"{name}\0any") for name, (wrong, _) in unread.items()))
    facts = found.collect(engine="streaming").row(0, named=True)
    for name, (_, says) in unread.items():
        if facts[f"{name}\0any"]:
            value = frame.select(name).slice(facts[name], 1).collect().item()
            raise UserError(f"input={source}: row {facts[name] + 1} has {value!r} in column {name}, which {says}")


def _blocks(frame: pl.LazyFrame, stretch: int | None) -> Iterator[tuple[int, pl.DataFrame]]:
    """Blocks of rows in order, each with the number of its first; one block of no rows where there are none."""
    start, some = 0, False
    while True:
        first = start
        for block in (frame if stretch is None else frame.slice(first, stretch)).collect_batches(chunk_size=_BLOCK):
            if len(block) or not some:
                some = True
                yield start, block
            start += len(block)
        if stretch is None or start < first + stretch:
            break
    if not some:
        yield 0, frame.head(0).collect()


def scored_blocks(
    bundle: Bundle, source: str, threads: int, made: Callable[[Arrays, NDArray[np.float64], NDArray[np.str_]], Made]
) -> Iterator[Made]:
    """What ``made`` makes of each block's encoded rows, scores and levels, in order; ``source`` as in score_file."""
    with tempfile.TemporaryDirectory(prefix="fraudlab_") as scratch:
        frame, stretch = _scan(bundle, source, Path(scratch))
        check = RowCheck(bundle)

        def work(numbered: tuple[int, pl.DataFrame]) -> Made:
            start, block = numbered
            rows = check(block, start)
            arrays, score, _ = _encoded(bundle, rows, start)
            return made(arrays, score, bundle.decision.levels(score, _amounts(bundle, rows)))

        try:
            yield from InThreads().map(work, _blocks(frame, stretch), at_once=threads)
        except pl.exceptions.PolarsError as error:
            raise _unreadable(bundle, source, error) from error


def _with_past(
    blocks: Iterator[tuple[int, pl.DataFrame]], past: pl.DataFrame | None
) -> Iterator[tuple[int, pl.DataFrame]]:
    """The blocks with the features of the past of all rows, if there are any, where they have none of their own."""
    for start, block in blocks:
        own = pl.DataFrame() if past is None else past[start : start + len(block)]
        made = (block[name].cast(pl.Float64).fill_nan(None).fill_null(own[name]) for name in own.columns)
        yield start, block.with_columns(made)


class _Scoring:
    """Scores a block of rows, of which the first has the number ``start``."""

    def __init__(self, bundle: Bundle, key: str | None) -> None:
        self._bundle, self._key, self._check = bundle, key, RowCheck(bundle)

    def __reduce__(self) -> tuple[Any, ...]:
        return _elsewhere, (self._bundle.source, self._bundle.version, self._key)

    def __call__(self, numbered: tuple[int, pl.DataFrame]) -> pl.DataFrame:
        start, block = numbered
        bundle, rows = self._bundle, self._check(block, start)
        _, score, spread = _encoded(bundle, rows, start)
        name = {"row": np.arange(start, start + len(block))} if self._key is None else {self._key: rows[self._key]}
        amount = _amounts(bundle, rows)
        rule = {} if amount is None else {"rule": rules_of(amount)}
        about = {} if spread is None else {"spread_low": spread.low, "spread_high": spread.high}
        levels = bundle.decision.levels(score, amount)
        return pl.DataFrame({**name, "score": score, "risk_level": levels, **rule, **about})


@cache
def _elsewhere(source: str, version: str, key: str | None) -> _Scoring:
    """What another process scores with, its bundle read once in this one."""
    bundle = load(source)
    if bundle.version != version:
        raise UserError(f"bundle {source} is version {bundle.version} on one machine and {version} on another one")
    return _Scoring(bundle, key)


def _amounts(bundle: Bundle, rows: pl.DataFrame) -> NDArray[np.float64] | None:
    """What checked rows are decided by, where money decides."""
    return None if bundle.decision.money is None else amounts_of(rows[bundle.decision.money.amount])


def _encoded(bundle: Bundle, rows: pl.DataFrame, start: int) -> tuple[Arrays, NDArray[np.float64], Spread | None]:
    """Checked rows as the encoder has them, their scores and how far the members lie apart."""
    arrays = bundle.encoder.transform(bundle.features.of_records(rows, bundle.lookups))
    probability, spread = bundle.probability_and_spread(arrays)
    try:
        return arrays, bundle.calibrated(probability), spread
    except Refused as error:
        first = error.problems[0]
        raise UserError(f"row {start + first['record'] + 1}: {first['problem']}") from error


def score_table(bundle: Bundle, scored: pl.LazyFrame) -> str:
    """How many rows of :func:`score_file`'s table have each risk level, as plain text."""
    counts = dict(scored.group_by("risk_level").len().collect(engine="streaming").iter_rows())
    rows = sum(counts.values())
    money = bundle.decision.money
    lines = ["risk level  from score        rows  per 1,000", "-" * 44]
    for level, threshold in (("high", None), ("medium", None), ("low", 0.0)):
        count, start = counts.get(level, 0), bundle.decision.thresholds.get(level, threshold)
        begins = f"{start:10.6f}" if money is None else f"{'by money':>10}"
        lines.append(f"{level:10}  {begins}  {count:10,}  {1000 * count / max(rows, 1):9.2f}")
    if money is not None:
        lines += ["", money.words()]
        without = scored.filter(pl.col("rule") == THRESHOLDS).select(pl.len()).collect(engine="streaming").item()
        if without:
            lines.append(f"{without:,} rows have no {money.amount} of 0 or more: their level is by the score alone")
    return "\n".join(lines)
