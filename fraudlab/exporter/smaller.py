"""Smaller models to serve: without the columns that they do not look at, and with fewer members."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudlab.bundle.ort import onnxruntime
from fraudlab.bundle.reasons import Columns
from fraudlab.config import ExportConfig
from fraudlab.data.batches import Batch
from fraudlab.errors import UserError
from fraudlab.exporter.models import Model
from fraudlab.features.encoder import Arrays
from fraudlab.features.joined import Encoder
from fraudlab.metrics.ranking import average_precision

_TIMED = 200  # rows of a call each


@dataclass(frozen=True)
class Served:
    """What a bundle holds of a run's tested model.

    Attributes:
        model: the tested one, or a smaller one.
        encoder: of the columns that it reads.
        kept: which of the run's encoded columns those are, bool [C + N].
        exact: whether the bundle gives the tested model's scores, but for rounding in single precision.
    """

    model: Model
    encoder: Encoder
    kept: NDArray[np.bool_]
    exact: bool

    def select(self, arrays: Arrays) -> Arrays:
        """What the model reads of rows as the run encodes them."""
        width = arrays.categorical.shape[1]
        return Arrays(arrays.categorical[:, self.kept[:width]], arrays.numeric[:, self.kept[width:]])


def served(config: ExportConfig, model: Model, encoder: Encoder, validation: Batch, sample: Arrays) -> Served:
    """The model that ``config`` asks for.

    Args:
        config: of the export.
        model: the tested one.
        encoder: the run's.
        validation: rows on which a column is looked at or not, and members are chosen.
        sample: rows that it has learnt from.

    Raises:
        UserError: the model cannot be made smaller in such a way.
    """
    whole = config.precision != "fp16" and config.quantize == "none"
    exact = whole and config.members is None and (model.prunes_exactly or not config.prune_columns)
    if config.members is not None:
        model = model.with_members(config.members, validation)
    dropped = np.zeros(len(encoder.categorical) + encoder.num_numeric, bool)
    if not config.prune_columns:
        return Served(model, encoder, ~dropped, exact)
    columns = Columns(encoder)
    unused = model.unused(validation)
    looked_at = np.bincount(columns.of_encoded, ~unused) > 0
    if not looked_at.any():
        raise UserError("prune_columns=true: the model uses no column; train another one")
    names = [name for name, seen in zip(columns.names, looked_at, strict=True) if not seen]
    dropped = ~looked_at[columns.of_encoded]
    if names:
        model = model.without(dropped, sample)
    return Served(model, encoder.without(names), ~dropped, exact)


def arrays_of(rows: Batch) -> Arrays:
    """Encoded rows without their labels."""
    return Arrays(rows.categorical.numpy(), rows.numeric.numpy())


def scorer(path: Path, rows: Arrays) -> Callable[[int, int], NDArray[np.float32]]:
    """Scores of the rows from one to before another by ``model.onnx`` at ``path``, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    return lambda start, stop: session.run(["score"], {name: getattr(rows, name)[start:stop] for name in names})[0]


def score_all(score: Callable[[int, int], NDArray[np.float32]], count: int) -> NDArray[np.float32]:
    """Scores [count] of all rows of a :func:`scorer`."""
    return np.concatenate([score(start, min(start + 128, count)) for start in range(0, count, 128)])


def measured(path: Path, model: Model, encoder: Encoder, rows: Arrays, label: NDArray) -> dict[str, Any]:
    """Columns, members, bytes, time of one row and average precision of a model.

    Args:
        path: its ``model.onnx``.
        model: what that was written of.
        encoder: of the columns that it reads.
        rows: validation, as ``encoder`` has it.
        label: of the rows.
    """
    score = scorer(path, rows)
    found = score_all(score, len(label))
    took = []
    for row in range(min(_TIMED, len(label))):
        started = time.perf_counter()
        score(row, row + 1)
        took.append(time.perf_counter() - started)
    return {
        "columns": len(Columns(encoder).names),
        "members": model.members,
        "model_bytes": path.stat().st_size,
        "milliseconds": 1000 * float(np.median(took)),
        "average_precision": average_precision(label, found),
    }
