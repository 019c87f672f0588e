"""A run's tested model, be it a network or an estimator, as export uses it: its scores, its files in a bundle."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from fraudlab.bundle.reasons import Columns, save_reasons
from fraudlab.bundle.replaced import reference_rows
from fraudlab.config import ExportConfig
from fraudlab.data.batches import Batch
from fraudlab.errors import UserError
from fraudlab.exporter.onnx_model import quantize_int8, store_fp16, write_onnx
from fraudlab.features.encoder import Arrays, TableEncoder
from fraudlab.models.contract import Estimator, Exported
from fraudlab.models.registry import MODELS, models_that
from fraudlab.runs.folder import RunFolder
from fraudlab.training import fit_baseline
from fraudlab.training.scoring import load_network, score

SAMPLE = 10_000  # training rows that reasons are counted from
_REPLACED = 8  # of them, those that a network's columns are replaced by: docs/reasons.md


class Model(Protocol):
    """A tested model."""

    def score(self, rows: Batch) -> np.ndarray:
        """Fraud probability float32 [rows], as the run's own metrics were taken of."""
        ...

    def write(self, folder: Path, sample: Arrays, columns: Columns) -> None:
        """Write ``model.onnx`` and, of a model that gives contributions, its ``reasons.safetensors``.

        Args:
            folder: of the bundle.
            sample: encoded training rows.
            columns: what reasons name.
        """
        ...


def tested_model(config: ExportConfig, run: RunFolder, trained: Any, encoder: TableEncoder) -> Model:
    """The tested model of ``run``, whose settings are ``trained``.

    Raises:
        UserError: it has no bundle, or not in the form that ``config`` asks for.
    """
    name = trained.model.name
    if MODELS[name].kind == "network":
        network = load_network(run.final / "checkpoints" / "best.ckpt").double()
        return _Network(network, trained.eval_batch_size, config)
    estimator = fit_baseline.load(name, run.final)
    if not hasattr(estimator, "exported"):
        raise UserError(f"model={name} has no bundle: its class has no method exported(cardinalities, num_numeric)")
    if (config.precision, config.quantize) != ("fp64", "none"):
        networks = models_that(lambda part: part.kind == "network")
        raise UserError(f"precision and quantize are for {networks}; leave them out: model={name} is exported exactly")
    return _Fitted(estimator, estimator.exported(encoder.cardinalities, encoder.num_numeric))


class _Network:
    def __init__(self, network: nn.Module, batch_size: int, config: ExportConfig) -> None:
        self._network, self._batch_size, self._config = network, batch_size, config

    def score(self, rows: Batch) -> np.ndarray:
        return score(self._network, rows, self._batch_size)

    def write(self, folder: Path, sample: Arrays, columns: Columns) -> None:
        path = folder / "model.onnx"
        exact = self._config.precision == "fp64" and self._config.quantize == "none"
        widths = sample.categorical.shape[1], sample.numeric.shape[1]
        explains = write_onnx(self._network, *widths, path, dtype=torch.float64 if exact else torch.float32)
        if self._config.precision == "fp16":
            store_fp16(path)
        if self._config.quantize == "int8":
            quantize_int8(path)
        if not explains:
            save_reasons(folder, "replaced", {**reference_rows(*sample, _REPLACED), "column": columns.of_encoded})


class _Fitted:
    def __init__(self, estimator: Estimator, exported: Exported) -> None:
        self._estimator, self._exported = estimator, exported

    def score(self, rows: Batch) -> np.ndarray:
        return self._estimator.score(rows.categorical.numpy(), rows.numeric.numpy())

    def write(self, folder: Path, sample: Arrays, columns: Columns) -> None:
        self._exported.write_onnx(folder / "model.onnx")
        save_reasons(folder, self._exported.kind, self._exported.arrays(*sample))
