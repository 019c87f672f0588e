"""A loaded bundle: records to scores and reasons, with NumPy and ONNX Runtime alone."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudlab.bundle import formats, manifest
from fraudlab.bundle.blend import FILE as BLEND
from fraudlab.bundle.blend import Blend
from fraudlab.bundle.contract import (
    Refused,
    completed,
    computed,
    fewest_known,
    inputs,
    known_of,
    missing_needed,
    needed,
    problem,
)
from fraudlab.bundle.decision import Decision
from fraudlab.bundle.graph import Graph, Scorer, line
from fraudlab.bundle.reading import CASTS, InputReading
from fraudlab.bundle.reasons import Columns, Reason
from fraudlab.bundle.spread import Spread, spread_of
from fraudlab.config.plugins import require
from fraudlab.errors import UserError
from fraudlab.features import registry
from fraudlab.features.encoder import Arrays
from fraudlab.features.joined import load_encoder
from fraudlab.features.narrow import NARROW
from fraudlab.metrics.calibration import sigmoid
from fraudlab.metrics.calibration_maps import mapped, rise
from fraudlab.schema import TableSchema

GOLDEN_TOLERANCE = 1e-6
_MOST_SINGLE = float(np.finfo(np.float32).max)
_EXPLAINED = 2  # golden records whose reasons are checked
Record = Mapping[str, Any]


class Bundle:
    """What a bundle's folder holds, ready to score; made by :func:`load`.

    Attributes:
        path: its folder.
        source: folder or ``gs://`` address that it was loaded from.
        version: names its content: the first 12 hexadecimal digits of its manifest's SHA-256.
        manifest, schema, metrics: content of the JSON files of these names.
        decision: calibration and risk levels.
        reading: turns the columns of a record or a file into those of the table.
        inputs: columns of a record that the model reads as they are.
        never_missing: those of them that every training row had, as a record must.
        features, lookups: what turns a record into the encoder's columns.
        encoder: what turns those into arrays.
        explains: whether the model gives reasons for a score.
        has_members: whether the model has several members and so gives a spread.

    >>> from fraudlab.bundle import load
    >>> bundle = load("outputs/train/first/bundle")
    >>> bundle.explain([bundle.golden()[0]["record"]], k=1)[0][0]._fields
    ('column', 'value', 'share', 'contribution')
    """

    def __init__(self, folder: Path, facts: dict[str, Any], version: str, threads: int = 1) -> None:
        self.path = folder
        self.source = str(folder.absolute())
        self.version = version
        self.manifest = facts
        self.encoder = load_encoder(folder)
        with self._content("features.json") as features:
            require(features.get("plugins", ()), f"the bundle {folder}")
            table = TableSchema.from_dict(features["schema"])
            self.features = registry.make(features["settings"], table)
        read = {*self.encoder.categorical, *self.encoder.numeric}  # fewer than the features where columns were pruned
        self.inputs = [name for name in inputs(table, self.features) if name in read]
        with self._content("schema.json") as schema:
            numbers = self.encoder.never_missing.intersection(self.inputs)
            self.schema: dict[str, Any] = completed(schema, numbers)
            self.never_missing: list[str] = self.schema["never_missing"]
            self.reading = InputReading(self.schema["fields"], table)
        self._casts = {column.name: CASTS[column.type] for column in table.columns if column.type in CASTS}
        self._casts |= dict.fromkeys(computed(self.features), CASTS["number"])
        with self._content("metrics.json") as metrics:
            self.metrics: dict[str, Any] = metrics
        with self._content("decision.json") as decision:
            self.decision = Decision.from_dict(decision)
        self.lookups = {
            path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in folder.glob("look_ups/*.npy")
        }
        narrow = set(self.lookups[NARROW].tolist()) if NARROW in self.lookups else set()
        for field in self.schema["fields"]:  # what its table held in single precision has limits that the contract says
            if field["type"] == "number" and field["name"] in narrow:
                field["minimum"] = -_MOST_SINGLE if field["minimum"] is None else field["minimum"]
                field["maximum"] = _MOST_SINGLE if field["maximum"] is None else field["maximum"]
        self._model = self._loaded(threads)
        self._columns = Columns(self.encoder)
        self.explains = self._model.has_masks or self._model.contributions is not None
        self.has_members = self._model.weights is not None

    def _loaded(self, threads: int) -> Scorer:
        """The one model of the bundle, or the blend of its several."""
        if not (self.path / BLEND).is_file():
            return Graph(self.path, self.encoder, threads)
        with self._content(BLEND) as blend:
            return Blend(self.path, self.encoder, blend["members"], threads)

    def columns(self, record: Record) -> dict[str, Any]:
        """The columns that the encoder reads, of a raw record."""
        return self.features.of_record(self.typed(record), self.lookups)

    def typed(self, record: Record) -> dict[str, Any]:
        """The record in the types of its table, so that it is what a row would be; None for what stands for missing.

        JSON has one kind of number: 7.0 is an integer too, and 7 is a real number.
        """
        made = dict(self.reading.of_record(record))
        for name, (kind, cast) in self._casts.items():
            if type(value := made.get(name)) is kind:
                made[name] = cast(value)
        return made

    def _check(self, position: int, record: Record) -> None:
        """Refuse a record of which no score can be trusted: it lacks what every training row had, or nearly all."""
        if lacking := missing_needed(record, self.never_missing):
            raise Refused([*needed(position, record, {name: self.reading.sources(name) for name in lacking})])
        enough = fewest_known(self.schema)
        known = sum(1 for _ in islice(known_of(record, self.inputs), enough))  # no more of them are looked at
        if known < enough:
            says = f"has {known} of the {len(self.inputs)} fields that the model reads; every training row had"
            raise Refused([problem(position, None, f"{says} {self.schema['least_known']} at least")])

    def encode(self, records: Sequence[Record]) -> Arrays:
        """The arrays of raw records: ``categorical`` int64 [n, C], ``numeric`` float32 [n, N].

        Raises:
            Refused: a value that must be a number is not, or a record lacks what every training row had, or most of
                its fields; the message names the record and the column.
        """
        rows = [self._encoded(position, record) for position, record in enumerate(records)]
        categorical = np.empty((len(rows), len(self.encoder.categorical)), np.int64)
        numeric = np.empty((len(rows), self.encoder.num_numeric), np.float32)
        for i, row in enumerate(rows):
            categorical[i], numeric[i] = row.categorical[0], row.numeric[0]
        return Arrays(categorical, numeric)

    def _encoded(self, position: int, record: Record) -> Arrays:
        try:
            typed = self.typed(record)
            self._check(position, typed)
            return self.encoder.encode(self.features.of_record(typed, self.lookups))
        except Refused:
            raise
        except UserError as error:
            raise Refused([problem(position, None, str(error))]) from error

    def probability(self, arrays: Arrays) -> NDArray[np.float32]:
        """Probability of fraud [n] as the network gives it."""
        return self._model.probability(arrays)

    def probability_and_spread(self, arrays: Arrays) -> tuple[NDArray[np.float32], Spread | None]:
        """:meth:`probability`, and the range of the members' calibrated probabilities; None for one member."""
        if self._model.weights is None:
            return self._model.probability(arrays), None
        probability, members = self._model.by_member(arrays)
        # A calibration keeps the order, so that the spread of calibrated members is this one's.
        return probability, Spread(*map(self.decision.calibrate, spread_of(members, self._model.weights)))

    def score(self, arrays: Arrays) -> NDArray[np.float64]:
        """Calibrated probability of fraud [n].

        Raises:
            Refused: the model gives no number for a record, since its values are too large.
        """
        return self.calibrated(self.probability(arrays))

    def calibrated(self, probability: NDArray[np.float32]) -> NDArray[np.float64]:
        """:meth:`score` of rows with these probabilities.

        Raises:
            Refused: as :meth:`score` does.
        """
        score = self.decision.calibrate(probability)
        if not np.isfinite(score).all():
            says = "its numbers lie too far out for the model to give a score; check them"
            raise Refused([problem(int(position), None, says) for position in np.flatnonzero(~np.isfinite(score))])
        return score

    def predict(self, records: Sequence[Record]) -> NDArray[np.float64]:
        """Calibrated probability of fraud [n] of raw records; raises what :meth:`encode` and :meth:`score` do."""
        return self.score(self.encode(records))

    def explain(self, records: Sequence[Record], k: int = 5, arrays: Arrays | None = None) -> list[list[Reason]]:
        """The ``k`` columns that each record's score rests on most, largest share first.

        Trees, linear models and plain networks have contributions to the log-odds (see :meth:`contributions`). TabNet
        has its masks, each step's weighted by its decision (Arik and Pfister 2021, section 3), as
        pytorch-tabnet's ``explain`` has them. A column's embedding and its indicator of missing values count as the
        column. Columns that have no share are left out.

        Args:
            records: raw records.
            k: how many columns.
            arrays: what :meth:`encode` gave of them, where it is there.

        Raises:
            UserError: the bundle is of a version whose model does not explain its scores.
        """
        if not self.explains:
            raise UserError(f"bundle {self.path}: its model does not explain scores; export its run again")
        arrays = self.encode(records) if arrays is None else arrays
        weights = self._weights(arrays)
        columns = [self.columns(record) for record in records]
        return self._columns.reasons(weights, columns, k, signed=self._model.contributions is not None)

    def importance(self, arrays: Arrays) -> dict[str, float]:
        """The mean share of each column in what the scores of these rows rest on, largest first."""
        size = np.abs(self._weights(arrays))
        total = size.sum(axis=1, keepdims=True)
        shares = (size / np.where(total > 0, total, 1.0)).mean(axis=0)
        return {self._columns.names[i]: float(shares[i]) for i in np.argsort(-shares, kind="stable")}

    def _weights(self, arrays: Arrays) -> NDArray[np.float64]:
        """Contributions of columns, or masks if the model has no more: [n, columns]."""
        if self._model.contributions is None:
            return self._columns.summed(self._model.importance(arrays))
        return self.contributions(arrays)[1]

    def contributions(self, arrays: Arrays) -> tuple[float, NDArray[np.float64]]:
        """What each column adds to the log-odds of the calibrated score; above 0 indicates fraud.

        Returns:
            The log-odds that they are added to, and ``[n, columns]``, the categorical columns, then the numeric ones.
            Base and contributions of a row add up to the log-odds of its score. What the model gives is in single
            precision: near 1 its log-odds are that coarse (at 0.9999 by up to 6e-4), times the calibration's slope.
            A calibration that is not a line multiplies all contributions of a row by the same number: what the
            calibrated log-odds rise by for each unit of the model's, between the base and the row.

        Raises:
            UserError: the model has only masks, or no reasons at all.
        """
        if self._model.contributions is None:
            raise UserError(f"bundle {self.path}: its model gives no contributions to the log-odds")
        fitted, base = self.decision.calibration, self._model.contributions.base
        found = self._columns.summed(self._model.contributions(*arrays))
        scale = rise(fitted, base, base + found.sum(axis=1))
        return float(mapped(fitted, np.array(base))), scale[:, None] * found

    @property
    def parity(self) -> dict[str, Any]:
        """The difference between bundle and checkpoint at export: content of ``parity.json``."""
        with self._content("parity.json") as parity:
            return parity

    @property
    def reference(self) -> dict[str, Any]:
        """What drift is measured against: content of ``reference.json``; ``columns`` is None before format 5."""
        with self._content("reference.json") as reference:
            return reference

    def golden(self) -> list[dict[str, Any]]:
        """Raw records with their expected scores: ``[{"record", "score"}]``."""
        text = (self.path / "golden.jsonl").read_text(encoding="utf-8")
        try:
            golden = [json.loads(line) for line in text.splitlines()]
            whole = all(isinstance(row["record"], dict) and math.isfinite(row["score"]) for row in golden)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"bundle {self.path}: golden.jsonl cannot be read ({line(error)}); export again") from error
        if not golden or not whole:
            raise UserError(f"bundle {self.path}: golden.jsonl has no record with a score; export again")
        return golden

    def check(self) -> None:
        """Score the golden records, and explain some.

        Raises:
            UserError: a score is not the expected one, by more than 1e-6, or its contributions do not add up to it.
        """
        golden = self.golden()
        expected = np.array([row["score"] for row in golden])
        try:
            difference = np.abs(self.predict([row["record"] for row in golden]) - expected)
        except Refused as error:
            raise UserError(
                f"bundle {self.path}: golden {error}; its files do not belong together, export again"
            ) from error
        if not (difference <= GOLDEN_TOLERANCE).all():  # also false for NaN
            worst = int(np.nanargmax(difference))
            raise UserError(
                f"bundle {self.path}: golden record {worst + 1} scores {difference[worst]:.2g} off what its export "
                "wrote; this machine or these packages compute something else, do not serve it"
            )
        # A model in int8 rounds by the rows of a call, so that its scores alone and beside others differ by more.
        if self._model.contributions is not None and self.manifest.get("quantize") != "int8":
            arrays = self.encode([row["record"] for row in golden[:_EXPLAINED]])
            found = self._columns.summed(self._model.contributions(*arrays))
            # Before calibration, which would amplify what rounding to single precision leaves.
            apart = np.abs(sigmoid(self._model.contributions.base + found.sum(axis=1)) - self.probability(arrays)).max()
            if not apart <= GOLDEN_TOLERANCE:
                raise UserError(
                    f"bundle {self.path}: its reasons add up to {apart:.2g} off the score; they are from another "
                    "model, export again"
                )

    @contextmanager
    def _content(self, name: str) -> Iterator[dict[str, Any]]:
        """The content of a JSON file; what is wrong with it is one message."""
        try:
            read = json.loads((self.path / name).read_text(encoding="utf-8"))
            written = self.manifest.get("format", formats.FORMAT)  # a bundle that is being exported has no manifest yet
            yield dict(formats.upgraded(name, read, written))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"bundle {self.path}: {name} is not what an export writes ({line(error)}); export again"
            ) from error


def load(path: str | Path, *, threads: int = 1) -> Bundle:
    """The bundle at ``path``, a folder or a ``gs://`` address, every file checked against its manifest.

    Args:
        path: its folder or ``gs://`` address.
        threads: of one call of the model.

    Raises:
        UserError: there is none, or it is not as it was exported; the message says what is wrong.

    >>> from fraudlab.bundle import load
    >>> load("outputs/train/first/bundle").schema["name"]
    'handbook'
    """
    if str(path).startswith("gs://"):
        from fraudlab.bundle.cloud import download

        folder = download(str(path))
    else:
        folder = Path(path)
    bundle = Bundle(folder, manifest.verify(folder), manifest.version(folder), threads)
    if str(path).startswith("gs://"):
        bundle.source = str(path)
    return bundle
