"""Scores of all transactions in a CSV or Parquet file, block by block, whatever its size."""

import tempfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from tqdm import tqdm

from fraudlab.bundle.runtime import Bundle
from fraudlab.errors import UserError
from fraudlab.files import replacing

_BLOCK = 16_384
_TYPES = {"integer": pl.Int64, "number": pl.Float64, "string": pl.String, "boolean": pl.Boolean, "datetime": pl.String}
_BEYOND_INT64 = (pl.UInt64, pl.Int128, pl.UInt128)
_ENDINGS = (".csv", ".parquet")


def score_file(bundle: Bundle, source: Path, target: Path, threads: int = 1) -> pl.LazyFrame:
    """Write ``target``: a row for each of ``source``, in its order, with its id, score and level.

    Where no row has an id, they have ``row``, from 0. Columns as the bundle's schema names them; others are left aside,
    and optional ones may lack.

    Args:
        bundle: what to score with.
        source: ``.csv`` or ``.parquet``.
        target: ``.csv`` or ``.parquet``; written whole or not at all.
        threads: that encode and score, each some rows of its own.

    Returns:
        The written table, lazily.

    Raises:
        UserError: a file is of another kind, cannot be read, lacks a required column or holds text for a number.
    """
    for path in (source, target):
        if path.suffix not in _ENDINGS:
            raise UserError(f"{path} is neither CSV nor Parquet by its name (.csv or .parquet)")
    if not source.is_file():
        raise UserError(f"input={source} does not exist ({source.absolute()})")
    try:
        frame = _scan(bundle, source)
        key = next((field["name"] for field in bundle.schema["fields"] if field["role"] == "id"), None)
        ids = pl.lit(0) if key is None else pl.col(key).count()
        rows, known = frame.select(pl.len(), ids.alias("known")).collect(engine="streaming").row(0)
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as parts,
            replacing(target) as aside,
            tqdm(total=rows, unit=" rows", desc="scoring", unit_scale=True) as bar,
        ):
            for number, scored in enumerate(_scores(bundle, frame, key if known else None, threads)):
                scored.write_parquet(Path(parts, f"{number:09}.parquet"))
                bar.update(len(scored))
            written = pl.scan_parquet(Path(parts))
            if target.suffix == ".csv":
                written.sink_csv(aside)
            else:
                written.sink_parquet(aside)
    except pl.exceptions.PolarsError as error:
        raise UserError(f"input={source} cannot be read: {str(error).strip().splitlines()[0]}") from error
    return pl.scan_csv(target) if target.suffix == ".csv" else pl.scan_parquet(target)


def _scan(bundle: Bundle, source: Path) -> pl.LazyFrame:
    """The bundle's fields, one that is lacking as nulls."""
    fields = {field["name"]: field for field in bundle.schema["fields"]}
    types = {name: _TYPES[field["type"]] for name, field in fields.items()}
    if source.suffix == ".csv":
        header = pl.scan_csv(source, infer_schema=False).collect_schema().names()
        scan = partial(pl.scan_csv, source, infer_schema=False)
        known = [name for name in header if name in bundle.missing.columns]
        others = [name for name in header if name not in known]
        # What stands for a missing number may be no number, and may be a value of other columns.
        frame = scan(schema_overrides={n: pl.String if n in known else types.get(n, pl.String) for n in header})
        if known:
            nulls = sorted(bundle.missing.words)
            read = scan(schema_overrides={name: types[name] for name in known}, null_values=nulls).select(known)
            frame = pl.concat([read, frame.select(others)], how="horizontal") if others else read
    else:
        frame = pl.scan_parquet(source, glob=False)
        have = frame.collect_schema()
        header = have.names()
        wide = [name for name in header if name in fields and have[name] in _BEYOND_INT64]
        frame = frame.with_columns(pl.col(name).cast(types[name]) for name in wide)
    lacking = [name for name in fields if name not in header]
    if required := [name for name in lacking if fields[name]["required"]]:
        raise UserError(f"input={source} lacks the columns {', '.join(required)}; it has: {', '.join(header)}")
    return frame.with_columns(pl.lit(None, types[name]).alias(name) for name in lacking).select(list(fields))


def _blocks(frame: pl.LazyFrame) -> Iterator[tuple[int, pl.DataFrame]]:
    """Blocks of rows in order, each with the number of its first; one block of no rows where there are none."""
    start = 0
    for block in frame.collect_batches(chunk_size=_BLOCK):
        if len(block) or not start:
            yield start, block
        start += len(block)


def _scores(bundle: Bundle, frame: pl.LazyFrame, key: str | None, threads: int) -> Iterator[pl.DataFrame]:
    """The table's rows scored in order; a few blocks are read ahead of the threads, never more."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[pl.DataFrame]] = deque()
        for start, block in _blocks(frame):
            waiting.append(pool.submit(_scored, bundle, block, start, key))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _scored(bundle: Bundle, block: pl.DataFrame, start: int, key: str | None) -> pl.DataFrame:
    columns = bundle.features.of_records(bundle.missing.out_of_rows(block), bundle.lookups)
    score = bundle.score(bundle.encoder.transform(columns))
    name = {"row": np.arange(start, start + len(block))} if key is None else {key: block[key]}
    return pl.DataFrame({**name, "score": score, "risk_level": bundle.decision.levels(score)})


def score_table(bundle: Bundle, scored: pl.LazyFrame) -> str:
    """How many rows of :func:`score_file`'s table have each risk level, as plain text."""
    counts = dict(scored.group_by("risk_level").len().collect(engine="streaming").iter_rows())
    rows = sum(counts.values())
    lines = ["risk level  from score        rows  per 1,000", "-" * 44]
    for level, threshold in (("high", None), ("medium", None), ("low", 0.0)):
        count, start = counts.get(level, 0), bundle.decision.thresholds.get(level, threshold)
        lines.append(f"{level:10}  {start:10.6f}  {count:10,}  {1000 * count / max(rows, 1):9.2f}")
    return "\n".join(lines)
