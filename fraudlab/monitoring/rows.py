"""Rows that are counted for drift: of a file, of a server's records, or as servers have counted them."""

import hmac
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from fraudlab.bundle import Bundle
from fraudlab.bundle.scoring import scored_blocks
from fraudlab.errors import UserError
from fraudlab.features.encoder import Arrays
from fraudlab.features.joined import parts_of
from fraudlab.monitoring import records
from fraudlab.monitoring.cells import Cells
from fraudlab.monitoring.counts import Counts

_VARIABLE = "FRAUDLAB_HASH_KEY"
_HASH = "^[0-9a-f]{64}$"
_BLOCK = 16_384
_STRETCH = 4 * _BLOCK  # rows in memory
_UNKNOWN = str(-(2**53))
_TYPES = {"integer": pl.Int64(), "number": pl.Float64(), "boolean": pl.Boolean()}
_TEXTS: dict[str, Callable[[str], str]] = {
    "integer": lambda word: str(int(float(word))),
    "number": lambda word: str(float(word)),
}
_NO_KEY = f"recorded as keyed hashes: set {_VARIABLE} to the server's to compare its categories"
_NUMBER = "a number that is recorded as keyed hashes"
_MADE_OF_HASHES = "made of values that are recorded as keyed hashes, some of them unknown; GET /drift judges it"


def of_file(bundle: Bundle, cells: Cells, source: str, threads: int) -> Counts:
    """Counts of a file's rows, read and scored as ``python -m fraudlab.predict`` does."""
    total = cells.empty()
    for block in scored_blocks(bundle, source, threads, cells.count):
        total.add(block)
    return total


def of_answers(cells: Cells, version: str, files: Sequence[Path]) -> Counts:
    """Counts of several servers: saved answers of their ``GET /drift``.

    Raises:
        UserError: one is no such answer, or of another bundle.
    """
    total = cells.empty()
    for file in files:
        try:
            said = json.loads(file.read_text(encoding="utf-8"))
            found, counts = said["bundle_version"], said["counts"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{file} is not an answer of GET /drift ({error}); save it again") from error
        if found != version:
            raise UserError(f"{file} is of bundle {found}, not of {version}; give the bundle that the server has")
        total.add(Counts.from_dict(counts, total))
    return total


def of_records(
    bundle: Bundle, cells: Cells, folder: Path, start: datetime | None, stop: datetime | None
) -> tuple[Counts, dict[str, str], int]:
    """Counts of a server's records.

    Returns:
        The counts; the columns that records cannot tell of, and why; how many rows were of other bundles, left out.
    """
    return records.settled(folder, lambda: _of_records(bundle, cells, folder, start, stop))


def _of_records(
    bundle: Bundle, cells: Cells, folder: Path, start: datetime | None, stop: datetime | None
) -> tuple[Counts, dict[str, str], int]:
    rows = records.scan(folder, start, stop)
    others = rows.filter(pl.col("bundle_version") != bundle.version).select(pl.len()).collect().item()
    own = rows.filter(pl.col("bundle_version") == bundle.version)
    reader = Recorded(bundle)
    total = cells.empty()
    names = ["score", "risk_level", "sample_weight", "reasons", "input"]
    scored = pl.col("scored_at")
    for first, last in _stretches(own.select(scored).collect().to_series().sort()):
        for block in own.filter(scored.is_between(first, last)).select(names).collect().iter_slices(_BLOCK):
            scores, levels = (block[name].to_numpy() for name in ("score", "risk_level"))
            counts = cells.count(reader.encoded(block["input"]), scores, levels, _weights(block))
            counts.reasons = _reasons(block)
            total.add(counts)
    return total, reader.left_out(cells.names), others


def _stretches(times: pl.Series) -> Iterator[tuple[datetime, datetime]]:
    """First and last of some rows' times, so that not too many are read at once; rows of one time stay together."""
    place = 0
    while place < len(times):
        last = times[min(place + _STRETCH, len(times)) - 1]
        yield times[place], last
        place = times.search_sorted(last, side="right")


def _weights(block: pl.DataFrame) -> np.ndarray:
    return block["sample_weight"].fill_null(1.0).to_numpy()


def _reasons(block: pl.DataFrame) -> Counter[str]:
    alerts = block.filter((pl.col("risk_level") != "low") & (pl.col("reasons").list.len() > 0))
    first = alerts.select(pl.col("reasons").list.first().struct.field("feature")).to_series()
    return Counter(first.drop_nulls().to_list())


class Recorded:
    """Recorded inputs as the encoder had them, as far as the record tells."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._key = os.environ.get(_VARIABLE, "").encode()
        self._fields = {field["name"]: field["type"] for field in bundle.schema["fields"]}
        self._hashed: dict[str, str] = {}
        self._words: dict[str, pl.DataFrame] = {}
        self._unresolved: set[str] = set()  # fields with hashes of values that the encoder does not know

    def left_out(self, names: Sequence[str]) -> dict[str, str]:
        """Those of the columns whose values the record does not tell, and why."""
        made = self._made_of({*self._hashed, *self._unresolved}) - self._unresolved
        found = {**dict.fromkeys(made, _MADE_OF_HASHES), **self._hashed}
        return {name: found[name] for name in names if name in found}

    def _made_of(self, fields: set[str]) -> set[str]:
        """Columns that the features make of these fields: those that change where golden records lack the fields."""
        if not fields:
            return set()
        golden = [row["record"] for row in self._bundle.golden()]
        lacking = [{name: None if name in fields else value for name, value in each.items()} for each in golden]
        whole, less = (
            self._features(self._frame(pl.DataFrame(rows, infer_schema_length=None))) for rows in (golden, lacking)
        )
        encoder = self._bundle.encoder
        names = [*encoder.categorical, *encoder.numeric_columns]
        pairs: list[tuple[np.ndarray, np.ndarray]] = list(zip(whole, less, strict=True))
        differs = np.hstack([np.not_equal(one, other).any(axis=0) for one, other in pairs])
        changed = {name for name, its in zip(names, differs, strict=True) if its}
        return changed | {f"{name} (number)" for name in changed}

    def encoded(self, inputs: pl.Series) -> Arrays:
        return self._features(self._frame(inputs.struct.unnest()))

    def _frame(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The contract's fields; those that the rows have not are missing."""
        none = [None] * len(rows)
        return pl.DataFrame(
            [
                self._column(rows[name], kind) if name in rows.columns else pl.Series(name, none, pl.String)
                for name, kind in self._fields.items()
            ]
        )

    def _features(self, frame: pl.DataFrame) -> Arrays:
        read = self._bundle.reading.of_rows(frame.lazy()).collect()
        typed = read.with_columns(
            pl.col(name).cast(_TYPES[kind], strict=False)
            for name, kind in self._fields.items()
            if name in read.columns and kind in _TYPES and read.schema[name] != _TYPES[kind]
        )
        return self._bundle.encoder.transform(self._bundle.features.of_records(typed, self._bundle.lookups))

    def _column(self, column: pl.Series, kind: str) -> pl.Series:
        """The column as it came; of keyed hashes those of values that the encoder knows are turned back."""
        if column.dtype != pl.String or not column.drop_nulls().str.contains(_HASH).all() or not column.count():
            return column
        name = column.name
        if name not in self._bundle.encoder.categorical:
            self._hashed[name] = _NUMBER
        elif not self._key:
            self._hashed[name] = _NO_KEY
        else:
            if name not in self._words:
                self._words[name] = pl.DataFrame(
                    self._hashes(name, kind), schema=dict.fromkeys(("hash", name), pl.String), orient="row"
                )
            found = column.to_frame("hash").join(self._words[name], on="hash", how="left", maintain_order="left")
            if found[name].null_count() > column.null_count():
                self._unresolved.add(name)
            # What the encoder does not know stays unknown: no number of the training where one belongs.
            other = pl.col("hash") if kind == "string" else pl.when(pl.col("hash").is_not_null()).then(pl.lit(_UNKNOWN))
            return found.select(pl.coalesce(name, other).alias(name)).to_series()
        return column

    def _hashes(self, name: str, kind: str) -> Iterator[tuple[str, str]]:
        text = _TEXTS.get(kind, str)
        for word in parts_of(self._bundle.encoder)[0].words(name):
            try:
                plain = text(word)
            except ValueError:
                continue
            yield hmac.digest(self._key, plain.encode(), "sha256").hex(), word
