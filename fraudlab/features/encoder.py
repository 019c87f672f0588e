"""TableEncoder: columns of a table to the two arrays a network takes, alike for a frame and for one record."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from fraudlab.atomic import replacing
from fraudlab.errors import UserError

if TYPE_CHECKING:  # a record is encoded without it
    import polars as pl

FORMAT = 1
MISSING, UNKNOWN, FIRST = 0, 1, 2  # category ids
_MOST_KNOTS = 1000
_EDGE = 1e-7  # quantiles 0 and 1 would lie at infinity
_SCALINGS = ("standard", "quantile_normal", "none")
_MOST = 1e140  # sums of squares of larger numbers overflow
_BLOCK = 32  # numeric outputs written at once


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
        self._numeric = tuple(numeric)
        self._indicators = tuple(indicators)
        self._indicator_columns = [self._numeric.index(name) for name in indicators]
        self._vocabularies = vocabularies
        self._ids = {name: {word: FIRST + i for i, word in enumerate(words)} for name, words in vocabularies.items()}
        self._state = state
        if settings.scaling == "quantile_normal":
            self._curves = _Curves(
                [state[f"knots.{i}"] for i in range(len(numeric))], [state[f"targets.{i}"] for i in range(len(numeric))]
            )

    @property
    def num_numeric(self) -> int:
        """Number of numeric outputs, N."""
        return len(self.numeric_names)

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
            scaling: ``standard`` (mean 0, deviation 1; a constant column becomes 0), ``quantile_normal`` (each column's
                quantiles to those of the normal distribution, piecewise linear through at most 1,000 knots, ends at
                -5.2 and 5.2) or ``none``.
            clip: scaled values beyond +-clip are cut; None for no clipping.
            log1p: sign(x) log(1 + |x|) before scaling.
            min_count: rarer categories count as unknown.

        Raises:
            UserError: a column is missing, holds something else where numbers belong, or numbers beyond 1e140 that are
                to be scaled; or there is no such scaling.
        """
        _require(frame, [*categorical, *numeric])
        settings = _Settings(scaling, clip, log1p, min_count)
        vocabularies = {name: _vocabulary(frame[name], min_count) for name in categorical}
        mean, scale, knots, indicators = np.zeros(len(numeric)), np.ones(len(numeric)), {}, []
        for i, name in enumerate(numeric):
            value = _numbers(frame[name])
            known = value[np.isfinite(value)]
            if len(known) < len(value):
                indicators.append(name)
            if not len(known):
                known = np.zeros(1)  # as a constant column
            if log1p:
                known = _log1p(known)
            least, most = known.min(), known.max()
            if scaling != "none" and max(-least, most) > _MOST:
                raise UserError(
                    f"column {name} holds numbers from {least:g} to {most:g}, too large to scale; "
                    "set features.encoder.log1p=true or name such values in data.missing_values"
                )
            if scaling == "standard":
                mean[i], deviation = known.mean(), known.std()
                # A constant column becomes 0. Rounding can leave its mean a bit off and its deviation above 0.
                scale[i] = deviation if deviation > 0 and least < most else math.inf
            elif scaling == "quantile_normal":
                knots[f"knots.{i}"], knots[f"targets.{i}"] = _normal_quantiles(known)
        return cls(settings, vocabularies, numeric, indicators, {"mean": mean, "scale": scale, **knots})

    def transform(self, frame: "pl.DataFrame") -> Arrays:
        """The arrays of a frame's rows.

        Raises:
            UserError: a column is missing or holds something else where numbers belong.
        """
        import polars as pl

        _require(frame, [*self.categorical, *self._numeric])
        categorical = np.empty((len(frame), len(self.categorical)), np.int64)
        for i, name in enumerate(self.categorical):
            values = frame[name].unique().to_list()
            ids = [self._id(name, value) for value in values]
            categorical[:, i] = frame[name].replace_strict(values, ids, return_dtype=pl.Int64).to_numpy()
        numeric = np.empty((len(frame), self.num_numeric), np.float32)
        # Writing one column into rows touches every cache line of the array; a block of columns touches it once.
        for first in range(0, self.num_numeric, _BLOCK):
            outputs = range(first, min(first + _BLOCK, self.num_numeric))
            block = np.empty((len(outputs), len(frame)), np.float32)
            for i, output in enumerate(outputs):
                block[i] = self._output(frame, output)
            numeric[:, first : outputs.stop] = block.T
        return Arrays(categorical, numeric)

    def encode(self, record: Mapping[str, Any]) -> Arrays:
        """The arrays [1, …] of one record, bit for bit those of the same row in a frame; a missing key is a null.

        Raises:
            UserError: a value is no number where one belongs; the message names the column.
        """
        ids = [self._id(name, record.get(name)) for name in self.categorical]
        value = np.array([number(name, record.get(name)) for name in self._numeric], np.float64)
        finite = np.isfinite(value)
        numeric = np.empty((1, self.num_numeric), np.float32)
        numeric[0, : len(value)] = np.where(finite, self._scale(value), 0.0)
        numeric[0, len(value) :] = ~finite[self._indicator_columns]
        return Arrays(np.array(ids, np.int64).reshape(1, -1), numeric)

    def _id(self, name: str, value: Any) -> int:
        word = _word(value)
        return MISSING if word is None else self._ids[name].get(word, UNKNOWN)

    def _output(self, frame: "pl.DataFrame", output: int) -> NDArray[Any]:
        """``[rows]``: one numeric output of a frame."""
        is_indicator = output >= len(self._numeric)
        column = self._indicator_columns[output - len(self._numeric)] if is_indicator else output
        value = _numbers(frame[self._numeric[column]])
        finite = np.isfinite(value)
        return ~finite if is_indicator else np.where(finite, self._scale(value, column), 0.0)

    def _scale(self, value: NDArray[np.float64], column: int | None = None) -> NDArray[np.float64]:
        """Scale ``value``: many rows of one column, or one row of all columns."""
        which = slice(None) if column is None else column
        with np.errstate(invalid="ignore", over="ignore"):
            if self._settings.log1p:
                value = _log1p(value)
            if self._settings.scaling == "standard":
                value = (value - self._state["mean"][which]) / self._state["scale"][which]
            elif self._settings.scaling == "quantile_normal":
                value = self._curves.of_row(value) if column is None else self._curves.of_column(column, value)
            if self._settings.clip is not None:
                value = np.clip(value, -self._settings.clip, self._settings.clip)
            return np.clip(value, -_LARGEST, _LARGEST)

    def _plain(self) -> str:
        plain = {
            "format": FORMAT,
            "settings": asdict(self._settings),
            "numeric": self._numeric,
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
            save_file(dict(self._state), aside / "encoder.safetensors")

    @classmethod
    def load(cls, folder: Path) -> "TableEncoder":
        """The encoder that :meth:`save` wrote.

        Raises:
            UserError: a file is missing or broken, or of another format.
        """
        try:
            plain = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
            if plain["format"] != FORMAT:
                raise UserError(f"{folder}: encoder format {plain['format']} is not known here (known: {FORMAT})")
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


class _Curves:
    """Piecewise linear maps, one a column: the same arithmetic for a column of a frame and for one record.

    Args:
        knots: of each column, the values, rising, where its map bends.
        targets: of each column, what its knots become.
    """

    def __init__(self, knots: Sequence[NDArray[np.float64]], targets: Sequence[NDArray[np.float64]]) -> None:
        self._knots = knots
        # The pieces of all columns in a row; the last piece of each is flat and has no end.
        sizes = np.array([len(column) for column in knots], np.int64)
        self._last = np.cumsum(sizes) - 1
        self._first = self._last - sizes + 1
        bits = (int(sizes.max(initial=1)) - 1).bit_length()
        self._steps = [1 << bit for bit in reversed(range(bits))]
        self._left = np.concatenate([*knots, []])
        self._run = np.concatenate([*(np.diff(column, append=math.inf) for column in knots), []])
        self._base = np.concatenate([*targets, []])
        self._rise = np.concatenate([*(np.diff(column, append=column[-1]) for column in targets), []])

    def of_column(self, column: int, value: NDArray[np.float64]) -> NDArray[np.float64]:
        piece = np.maximum(self._knots[column].searchsorted(value, side="right") - 1, 0)
        return self._along(self._first[column] + piece, value)

    def of_row(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        piece = self._first
        for step in self._steps:  # a binary search in all columns at once
            probe = np.minimum(piece + step, self._last)
            piece = np.where(self._left[probe] <= value, probe, piece)
        return self._along(piece, value)

    def _along(self, piece: NDArray[np.int64], value: NDArray[np.float64]) -> NDArray[np.float64]:
        share = np.maximum((value - self._left[piece]) / self._run[piece], 0.0)
        along: NDArray[np.float64] = self._base[piece] + self._rise[piece] * share
        return along


_LARGEST = float(np.finfo(np.float32).max)


def _require(frame: "ColumnsByName | pl.DataFrame", names: Sequence[str]) -> None:
    if missing := [name for name in names if name not in frame.columns]:
        raise UserError(f"columns missing from the table: {', '.join(missing)}; it has: {', '.join(frame.columns)}")


def _word(value: Any) -> str | None:
    """Text form of a category; None where missing."""
    if value is None:
        return None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value)


def _vocabulary(column: "pl.Series", min_count: int) -> list[str]:
    counts: Counter[str] = Counter()
    for value, count in column.value_counts(name="count").iter_rows():
        if (word := _word(value)) is not None:
            counts[word] += count
    return sorted((word for word in counts if counts[word] >= min_count), key=lambda word: (-counts[word], word))


def _numbers(column: "pl.Series") -> NDArray[np.float64]:
    """A column as float64; NaN where missing."""
    import polars as pl

    if not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.String, pl.Null)):
        raise UserError(
            f"column {column.name} should be numeric but is of type {column.dtype}; make it categorical or leave it out"
        )
    try:
        return column.cast(pl.Float64).fill_null(math.nan).to_numpy()
    except pl.exceptions.PolarsError:
        cast = column.cast(pl.Float64, strict=False)
        sample = column.filter(cast.is_null() & column.is_not_null())
        raise UserError(
            f"column {column.name} should be numeric but holds {sample[0]!r}; make it categorical, "
            "or name that value in data.missing_values"
        ) from None


def number(name: str, value: Any) -> float:
    """One value as a float, as a cast of its column would read it; NaN where missing."""
    if value is None:
        return math.nan
    try:
        if isinstance(value, str) and ("_" in value or value != value.strip() or not value.isascii()):
            raise ValueError  # Python reads these, a cast does not
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"column {name}: {value!r} is no number; give a number, or leave it out if missing") from None


def _log1p(value: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sign(value) * np.log1p(np.abs(value))


def _normal_quantiles(known: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values and the normal quantiles they stand for; a value that spans several quantiles takes their middle."""
    share = np.linspace(0.0, 1.0, min(_MOST_KNOTS, max(len(known), 2)))
    value = np.quantile(known, share)
    knots, first, count = np.unique(value, return_index=True, return_counts=True)
    middle = (share[first] + share[first + count - 1]) / 2
    normal = NormalDist()
    return knots, np.array([normal.inv_cdf(min(max(q, _EDGE), 1 - _EDGE)) for q in middle])
