"""A loaded bundle: records to scores and reasons, with NumPy and ONNX Runtime alone."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraudlab.bundle import formats, manifest
from fraudlab.bundle.decision import Decision
from fraudlab.bundle.ort import onnxruntime
from fraudlab.bundle.reading import InputReading
from fraudlab.errors import UserError
from fraudlab.features import registry
from fraudlab.features.encoder import Arrays, TableEncoder
from fraudlab.schema import TableSchema

GOLDEN_TOLERANCE = 1e-6
_BLOCK = 128  # rows of one call: what the model computes of them stays in the processor's cache
Record = Mapping[str, Any]


class Reason(NamedTuple):
    """A column that a score rests on: its value and its share of TabNet's attention, in [0, 1]."""

    column: str
    value: Any
    share: float


class Bundle:
    """What a bundle's folder holds, ready to score; made by :func:`load`.

    Attributes:
        path: its folder.
        version: names its content: the first 12 hexadecimal digits of its manifest's SHA-256.
        manifest, schema, metrics: content of the JSON files of these names.
        decision: calibration and risk levels.
        reading: what makes the table's columns of those that a record or a file has.
        features, lookups: what turns a record into the encoder's columns.
        encoder: what turns those into arrays.
    """

    def __init__(self, folder: Path, facts: dict[str, Any], version: str, threads: int = 1) -> None:
        self.path = folder
        self.version = version
        self.manifest = facts
        self.schema: dict[str, Any] = self._json("schema.json")
        self.metrics: dict[str, Any] = self._json("metrics.json")
        self.decision = Decision.from_dict(self._json("decision.json"))
        features = self._json("features.json")
        table = TableSchema.from_dict(features["schema"])
        self.reading = InputReading(self.schema["fields"], table)
        self.features = registry.make(features["settings"], table)
        self.lookups = {
            path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in folder.glob("look_ups/*.npy")
        }
        self.encoder = TableEncoder.load(folder)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self._session = onnxruntime.InferenceSession(
            (folder / "model.onnx").read_bytes(), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = [given.name for given in self._session.get_inputs()]
        self.has_masks = "importance" in [output.name for output in self._session.get_outputs()]

    def columns(self, record: Record) -> dict[str, Any]:
        """The columns that the encoder reads, of a raw record."""
        return self.features.of_record(self.reading.of_record(record), self.lookups)

    def encode(self, records: Sequence[Record]) -> Arrays:
        """The arrays of raw records: ``categorical`` int64 [n, C], ``numeric`` float32 [n, N].

        Raises:
            UserError: a value is no number where one belongs; the message names the column.
        """
        rows = [self.encoder.encode(self.columns(record)) for record in records]
        categorical = np.empty((len(rows), len(self.encoder.categorical)), np.int64)
        numeric = np.empty((len(rows), self.encoder.num_numeric), np.float32)
        for i, row in enumerate(rows):
            categorical[i], numeric[i] = row.categorical[0], row.numeric[0]
        return Arrays(categorical, numeric)

    def probability(self, arrays: Arrays) -> NDArray[np.float32]:
        """Probability of fraud [n] as the network gives it."""
        return self._run("score", arrays)

    def score(self, arrays: Arrays) -> NDArray[np.float64]:
        """Calibrated probability of fraud [n]."""
        return self.decision.calibrate(self.probability(arrays))

    def predict(self, records: Sequence[Record]) -> NDArray[np.float64]:
        """Calibrated probability of fraud [n] of raw records."""
        return self.score(self.encode(records))

    def explain(self, records: Sequence[Record], k: int = 5) -> list[list[Reason]]:
        """The ``k`` columns that each record's score rests on most, largest share first.

        A share is that of TabNet's masks, each step's weighted by its decision (Arik and Pfister 2021, section 3), as
        pytorch-tabnet's ``explain`` has them. A column's embedding and its indicator of missing values count as the
        column. Columns that were not looked at are left out.

        Raises:
            UserError: the network has no masks.
        """
        if not self.has_masks:
            raise UserError(f"bundle {self.path}: its model has no masks to explain a score by; export a model=tabnet")
        columns = [self.columns(record) for record in records]
        importance = self._run("importance", self.encode(records))
        numeric = self.features.numeric
        indicators = [name.removesuffix("_missing") for name in self.encoder.numeric_names[len(numeric) :]]
        names = [*self.encoder.categorical, *numeric]
        share = importance[:, : len(names)].astype(np.float64)
        for i, name in enumerate(indicators):
            share[:, len(self.encoder.categorical) + numeric.index(name)] += importance[:, len(names) + i]
        total = share.sum(axis=1, keepdims=True)
        share /= np.where(total > 0, total, 1.0)
        top = np.argsort(-share, axis=1, kind="stable")[:, :k]
        return [
            [Reason(names[column], values.get(names[column]), float(row[column])) for column in best if row[column] > 0]
            for values, row, best in zip(columns, share, top.tolist(), strict=True)
        ]

    @property
    def parity(self) -> dict[str, Any]:
        """How far bundle and checkpoint were apart at export: content of ``parity.json``."""
        return self._json("parity.json")

    def golden(self) -> list[dict[str, Any]]:
        """Raw records with their expected scores: ``[{"record", "score"}]``."""
        text = (self.path / "golden.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def check(self) -> None:
        """Score the golden records.

        Raises:
            UserError: a score is not the expected one, by more than 1e-6.
        """
        golden = self.golden()
        expected = np.array([row["score"] for row in golden])
        difference = np.abs(self.predict([row["record"] for row in golden]) - expected)
        if not (difference <= GOLDEN_TOLERANCE).all():  # also false for NaN
            worst = int(np.nanargmax(difference))
            raise UserError(
                f"bundle {self.path}: golden record {worst + 1} scores {difference[worst]:.2g} off what its export "
                "wrote; this machine or these packages compute something else, do not serve it"
            )

    def _run(self, output: str, arrays: Arrays) -> NDArray[np.float32]:
        given = {name: getattr(arrays, name) for name in self._inputs}
        blocks = [
            self._session.run([output], {name: array[start : start + _BLOCK] for name, array in given.items()})[0]
            for start in range(0, len(arrays.numeric), _BLOCK)
        ]
        if not blocks:  # the loop of its masks would never end on no rows
            width = arrays.categorical.shape[1] + arrays.numeric.shape[1]
            return np.empty((0, width) if output == "importance" else 0, np.float32)
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)

    def _json(self, name: str) -> dict[str, Any]:
        read = json.loads((self.path / name).read_text(encoding="utf-8"))
        written = self.manifest.get("format", formats.FORMAT)  # a bundle that is being exported has no manifest yet
        return dict(formats.upgraded(name, read, written))


def load(path: str | Path, *, threads: int = 1) -> Bundle:
    """The bundle at ``path``, a folder or a ``gs://`` address, every file checked against its manifest.

    Args:
        path: where it lies.
        threads: of one call of the model.

    Raises:
        UserError: there is none, or it is not as it was exported; the message says what is wrong.
    """
    if str(path).startswith("gs://"):
        from fraudlab.bundle.cloud import download

        folder = download(str(path))
    else:
        folder = Path(path)
    return Bundle(folder, manifest.verify(folder), manifest.version(folder), threads)
