"""TableEncoder: columns of a table to the two arrays a network takes, alike for a frame and for one record."""

import hashlib
import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from fraudlab.errors import UserError
from fraudlab.features.categories import FIRST, Categories, vocabulary
from fraudlab.features.numbers import Curves, as_number, as_numbers, log1p, scale_of, smoothly_clipped
from fraudlab.features.threads import in_threads
from fraudlab.files import replacing

if TYPE_CHECKING:  # a record is encoded without it
    import polars as pl

FORMAT = 1
_SCALINGS = ("standard", "robust", "quantile_normal", "none")
_LARGEST = float(np.finfo(np.float32).max)
_CURVE = ("knots", "targets")  # of a column's quantiles in the state
_BLOCK = 32  # columns that a thread takes at once
_ROWS = 16_384  # rows that a thread encodes at once


Result = TypeVar("Result")


class Arrays(NamedTuple):
    """``categorical``: int64 [rows, C], ids. ``numeric``: float32 [rows, N], finite."""

    categorical: NDArray[np.int64]
    numeric: NDArray[np.float32]


@dataclass(frozen=True)
class _Settings:
    scaling: str
    clip: float | None
    log1p: bool
    min_count: int

    def __post_init__(self) -> None:
        if self.scaling not in _SCALINGS:
            raise UserError(f"scaling {self.scaling!r} does not exist; it is one of: {', '.join(_SCALINGS)}")


class ColumnsByName(Protocol):
    """What a fit reads: a frame, or columns that are read as they are asked for."""

    columns: list[str]

    def __getitem__(self, name: str) -> "pl.Series": ...


class TableEncoder:
    """Fitted state that turns columns into arrays; made by :meth:`fit` or :meth:`load`.

    Categories get id 0 where missing, 1 where unknown or rarer than ``min_count`` in the fit, and 2, 3, … by falling
    count, then value. They are told apart by a text form in which 150, 150.0 and "150" are one, True is "true", and a
    missing value is null or NaN. Numbers that are null, NaN or infinite are missing: 0 after scaling, and 1 in the
    column's indicator, which exists where the fit saw one missing. The steps are log1p, scaling, clip, in float64, then
    float32; what float32 cannot hold is cut to its largest number.

    Attributes:
        categorical: names of the categorical columns, C of them.
        numeric: names of the numeric columns.
        numeric_names: names of the numeric outputs: the numeric columns, then the indicators ``<column>_missing``.
        cardinalities: number of ids of each categorical column.
    """

    def __init__(
        self,
        settings: _Settings,
        vocabularies: Mapping[str, Sequence[str]],
        numeric: Sequence[str],
        indicators: Sequence[str],
        state: Mapping[str, NDArray[np.float64]],
    ) -> None:
        self.categorical = tuple(vocabularies)
        self.cardinalities = [FIRST + len(words) for words in vocabularies.values()]
        self.numeric_names = [*numeric, *(f"{name}_missing" for name in indicators)]
        self._settings = settings
        self.numeric = tuple(numeric)
        self._indicators = tuple(indicators)
        self._indicator_columns = [self.numeric.index(name) for name in indicators]
        self._vocabularies = vocabularies
        self._categories = {name: Categories(words) for name, words in vocabularies.items()}
        self._state = state
        if settings.scaling == "quantile_normal":
            self._curves = Curves(
                [state[f"knots.{i}"] for i in range(len(numeric))], [state[f"targets.{i}"] for i in range(len(numeric))]
            )

    @property
    def num_numeric(self) -> int:
        """Number of numeric outputs, N."""
        return len(self.numeric_names)

    @property
    def numeric_columns(self) -> list[str]:
        """The column that each numeric output is made of."""
        return [*self.numeric, *self._indicators]

    @property
    def never_missing(self) -> frozenset[str]:
        """Numeric columns of which the fit saw no missing value."""
        return frozenset(self.numeric).difference(self._indicators)

    @classmethod
    def fit(
        cls,
        frame: "ColumnsByName | pl.DataFrame",
        categorical: Sequence[str],
        numeric: Sequence[str],
        *,
        scaling: str = "standard",
        clip: float | None = None,
        log1p: bool = False,
        min_count: int = 1,
    ) -> "TableEncoder":
        """Learn vocabularies and scales from training rows.

        Args:
            frame: the training rows, a frame or columns by name, each of which is asked for once, in the order below.
            categorical: names of the categorical columns.
            numeric: names of the numeric columns.
            scaling: ``standard`` (mean 0, deviation 1; a constant column becomes 0), ``robust`` (median 0, quartiles 1
                apart, then smoothly within -3 and 3, see :func:`fraudlab.features.numbers.smoothly_clipped`),
                ``quantile_normal`` (each column's quantiles to those of the normal distribution, piecewise linear
                through at most 1,000 knots, ends at -5.2 and 5.2) or ``none``.
            clip: scaled values beyond +-clip are cut; None for no clipping.
            log1p: sign(x) log(1 + |x|) before scaling.
            min_count: rarer categories count as unknown.

        Raises:
            UserError: a column is missing, holds something else where numbers belong, or numbers beyond 1e140 that are
                to be scaled; or there is no such scaling.
        """
        _require(frame, [*categorical, *numeric])
        settings = _Settings(scaling, clip, log1p, min_count)
        words = _of_columns(partial(vocabulary, min_count=min_count), frame, categorical)
        scales = list(_of_columns(partial(scale_of, scaling=scaling, log1p_first=log1p), frame, numeric))
        state = {"mean": np.array([scale.mean for scale in scales]), "scale": np.array([s.scale for s in scales])}
        if scaling == "quantile_normal":
            for i, scale in enumerate(scales):
                state[f"knots.{i}"], state[f"targets.{i}"] = scale.knots, scale.targets
        indicators = [name for name, scale in zip(numeric, scales, strict=True) if scale.missing]
        return cls(settings, dict(zip(categorical, words, strict=True)), numeric, indicators, state)

    def words(self, name: str) -> Sequence[str]:
        """Texts of a categorical column's ids from :data:`fraudlab.features.categories.FIRST` on."""
        return self._vocabularies[name]

    def without(self, names: Collection[str]) -> "TableEncoder":
        """An encoder of the other columns, which it encodes alike."""
        kept = [i for i, name in enumerate(self.numeric) if name not in names]
        state = {name: self._state[name][kept] for name in ("mean", "scale")}
        if self._settings.scaling == "quantile_normal":
            state |= {f"{part}.{i}": self._state[f"{part}.{j}"] for part in _CURVE for i, j in enumerate(kept)}
        vocabularies = {name: words for name, words in self._vocabularies.items() if name not in names}
        indicators = [name for name in self._indicators if name not in names]
        return TableEncoder(self._settings, vocabularies, [self.numeric[i] for i in kept], indicators, state)

    def transform(self, frame: "pl.DataFrame", into: Arrays | None = None) -> Arrays:
        """The arrays of a frame's rows.

        Args:
            frame: the rows.
            into: arrays of the right shapes to write them to, for instance maps of files; None for new ones.

        Raises:
            UserError: a column is missing or holds something else where numbers belong.
        """
        _require(frame, [*self.categorical, *self.numeric])
        made = into or Arrays(
            np.empty((len(frame), len(self.categorical)), np.int64),
            np.empty((len(frame), self.num_numeric), np.float32),
        )

        import polars as pl

        types = frame.schema
        texts = {
            name: self._categories[name].of_text(pl.col(name)) for name in self.categorical if types[name] == pl.String
        }

        def write(rows: range) -> None:
            part = slice(rows.start, rows.stop)
            self._write(frame[part], texts, Arrays(made.categorical[part], made.numeric[part]))

        in_threads(write, _stretches(len(frame), _ROWS))
        return made

    def _write(self, frame: "pl.DataFrame", texts: "Mapping[str, pl.Expr]", made: Arrays) -> None:
        """Encode a frame, of whose columns of text the ids are given as expressions."""
        from polars import selectors

        ids, numbers = _by_column(made.categorical), _by_column(made.numeric)
        text = frame.select(texts.values())
        for i, name in enumerate(self.categorical):
            if name in texts:
                ids[i] = text[name].to_numpy()
            else:
                ids[i] = self._categories[name].of_column(frame[name])
        known = frame.select(self.numeric).with_columns(selectors.float().fill_null(math.nan))
        indicator = dict(zip(self._indicator_columns, range(len(self.numeric), self.num_numeric), strict=True))
        for i, name in enumerate(self.numeric):
            value = as_numbers(known[name])
            finite = np.isfinite(value)
            numbers[i] = self._scale(value, i)
            numbers[i].view(np.int32)[:] &= -finite.astype(np.int32)  # 0 where missing, without a branch a value
            if i in indicator:
                np.logical_not(finite, out=numbers[indicator[i]])
        made.categorical[:], made.numeric[:] = ids.T, numbers.T

    def encode(self, record: Mapping[str, Any]) -> Arrays:
        """The arrays [1, …] of one record, bit for bit those of the same row in a frame; a missing key is a null.

        Raises:
            UserError: a value is no number where one belongs; the message names the column.
        """
        ids = [categories.of_value(record.get(name)) for name, categories in self._categories.items()]
        value = np.array([as_number(name, record.get(name)) for name in self.numeric], np.float64)
        finite = np.isfinite(value)
        numeric = np.empty((1, self.num_numeric), np.float32)
        numeric[0, : len(value)] = np.where(finite, self._scale(value), 0.0)
        numeric[0, len(value) :] = ~finite[self._indicator_columns]
        return Arrays(np.array(ids, np.int64).reshape(1, -1), numeric)

    def _scale(self, value: NDArray[np.float64], column: int | None = None) -> NDArray[np.float64]:
        """Scale ``value``: many rows of one column, or one row of all columns."""
        which = slice(None) if column is None else column
        with np.errstate(invalid="ignore", over="ignore"):
            if self._settings.log1p:
                value = log1p(value)
            if self._settings.scaling in ("standard", "robust"):
                value = value - self._state["mean"][which]
                value /= self._state["scale"][which]
                if self._settings.scaling == "robust":
                    value = smoothly_clipped(value)
            elif self._settings.scaling == "quantile_normal":
                value = self._curves.of_row(value) if column is None else self._curves.of_column(column, value)
            limit = min(self._settings.clip or _LARGEST, _LARGEST)
            return np.clip(value, -limit, limit)

    def _plain(self) -> str:
        plain = {
            "format": FORMAT,
            "settings": asdict(self._settings),
            "numeric": self.numeric,
            "indicators": self._indicators,
            "vocabularies": self._vocabularies,
        }
        return json.dumps(plain, ensure_ascii=False, indent=1)

    @property
    def fingerprint(self) -> str:
        """16 hex digits that differ between encoders that give other arrays."""
        digest = hashlib.sha256(self._plain().encode())
        for name in sorted(self._state):
            digest.update(name.encode() + self._state[name].tobytes())
        return digest.hexdigest()[:16]

    def save(self, folder: Path) -> None:
        """Write ``encoder.json`` and ``encoder.safetensors`` into ``folder``, which appears whole or not at all."""
        with replacing(folder) as aside:
            aside.mkdir()
            (aside / "encoder.json").write_text(self._plain(), encoding="utf-8")
            (aside / "encoder.safetensors").write_bytes(save(dict(self._state)))  # save_file() would make it 0600

    @classmethod
    def load(cls, folder: Path) -> "TableEncoder":
        """The encoder that :meth:`save` wrote.

        Raises:
            UserError: a file is missing or broken, or of another format.
        """
        try:
            plain = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
            if plain["format"] != FORMAT:
                raise UserError(f"{folder}: encoder format {plain['format']} is not supported (supported: {FORMAT})")
            state = load_file(folder / "encoder.safetensors")
            if not state["mean"].shape == state["scale"].shape == (len(plain["numeric"]),):
                raise UserError(
                    f"{folder}: encoder.safetensors does not belong to encoder.json; save the encoder again"
                )
            settings = _Settings(**plain["settings"])
            return cls(settings, plain["vocabularies"], plain["numeric"], plain["indicators"], state)
        except UserError:
            raise
        except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
            raise UserError(
                f"{folder} holds no whole encoder ({type(error).__name__}: {error}); copy or make it again"
            ) from error


def _require(frame: "ColumnsByName | pl.DataFrame", names: Sequence[str]) -> None:
    known = frame.columns
    if missing := set(names).difference(known):
        missing_ones = ", ".join(name for name in names if name in missing)
        raise UserError(f"columns missing from the table: {missing_ones}; it has: {', '.join(known)}")


def _of_columns(
    work: "Callable[[pl.Series], Result]", frame: "ColumnsByName | pl.DataFrame", names: Sequence[str]
) -> "Iterator[Result]":
    """What ``work`` gives for each of the columns, of which few are in memory at a time."""
    for some in _stretches(len(names), _BLOCK):
        yield from in_threads(work, [frame[names[i]] for i in some])


def _by_column(array: NDArray[Any]) -> NDArray[Any]:
    """An empty array like ``array`` with its axes swapped.

    Its rows do not start a power of two apart: a cache would keep them all in the same few places.
    """
    rows, columns = array.shape
    return np.empty((columns, rows + 48), array.dtype)[:, :rows]


def _stretches(count: int, size: int) -> list[range]:
    return [range(first, min(first + size, count)) for first in range(0, count, size)]
