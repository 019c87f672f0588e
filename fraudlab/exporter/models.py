"""A run's tested model, be it a network or an estimator, as export uses it: its scores, its files in a bundle."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fraudlab.bundle.reasons import Columns, save_reasons
from fraudlab.bundle.replaced import reference_rows
from fraudlab.config import ExportConfig
from fraudlab.data.batches import Batch, Batches
from fraudlab.errors import UserError
from fraudlab.exporter.onnx_model import quantize_int8, store_fp16, write_onnx
from fraudlab.features.encoder import Arrays, TableEncoder
from fraudlab.metrics.ranking import average_precision
from fraudlab.models.contract import Estimator, Exported
from fraudlab.models.ensemble import Ensemble
from fraudlab.models.registry import MODELS, models_that
from fraudlab.runs.folder import RunFolder
from fraudlab.training import fit_baseline
from fraudlab.training.scoring import load_network, score

SAMPLE = 10_000  # training rows that reasons are counted from
_SCORED = 256  # rows that a network scores for the reasons of one, about: docs/reasons.md


class Model(Protocol):
    """A tested model.

    Attributes:
        members: networks that it is made of.
        prunes_exactly: whether :meth:`without` leaves its scores as they are.
    """

    members: int
    prunes_exactly: bool

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

    def unused(self, rows: Batch) -> NDArray[np.bool_]:
        """Encoded columns that it looks at in none of the rows, bool [C + N].

        Raises:
            UserError: it looks at all of them always.
        """
        ...

    def without(self, dropped: NDArray[np.bool_], sample: Arrays) -> "Model":
        """The model without such columns."""
        ...

    def with_members(self, count: int, rows: Batch) -> "Model":
        """The model with those ``count`` members that have the best average precision on the rows together.

        Raises:
            UserError: it has not more than ``count``.
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


def save_replaced(folder: Path, sample: Arrays, columns: Columns) -> None:
    """Write the reasons of a model that is known by its scores alone; arguments as of :meth:`Model.write`."""
    count = max(2, _SCORED // (2 * len(columns.names) + 2))
    save_reasons(folder, "replaced", {**reference_rows(*sample, count), "column": columns.of_encoded})


def _looks_at_all() -> UserError:
    return UserError("prune_columns=true is for boosted trees and for networks with masks; leave it out for this model")


class _Network:
    prunes_exactly = False

    def __init__(self, network: nn.Module, batch_size: int, config: ExportConfig) -> None:
        self._network, self._batch_size, self._config = network, batch_size, config
        self._each: Sequence[Any] = list(network.members) if isinstance(network, Ensemble) else [network]
        self.members: int = network.k if hasattr(network, "kept") else len(self._each)  # type: ignore[assignment]

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
            save_replaced(folder, sample, columns)

    def unused(self, rows: Batch) -> NDArray[np.bool_]:
        if not all(hasattr(member, "without") for member in self._each):
            raise _looks_at_all()
        batches = list(Batches(rows, self._batch_size))
        found = [
            member.explain(batch.categorical, batch.numeric.double())[0].amax(dim=0)
            for member in self._each
            for batch in batches
        ]
        return (torch.stack(found).amax(dim=0) <= 0).numpy()  # type: ignore[no-any-return]

    def without(self, dropped: NDArray[np.bool_], sample: Arrays) -> Model:
        rows = torch.from_numpy(sample.categorical), torch.from_numpy(sample.numeric).double()
        return self._ensemble([member.without(torch.from_numpy(dropped), *rows) for member in self._each])

    def with_members(self, count: int, rows: Batch) -> Model:
        if count >= self.members:
            raise UserError(f"members={count}: the model has {self.members}; give a smaller number, or leave it out")
        scores = [self._of([member]).score(rows) for member in range(self.members)]
        label, chosen = rows.label.numpy(), list[int]()
        while len(chosen) < count:  # greedily: the one that helps most
            left = [i for i in range(self.members) if i not in chosen]
            chosen.append(
                max(left, key=lambda i: average_precision(label, np.mean([scores[j] for j in [*chosen, i]], axis=0)))
            )
        return self._of(sorted(chosen))

    def _of(self, members: Sequence[int]) -> "_Network":
        """Those members alone, by their numbers."""
        if hasattr(self._network, "kept"):
            return self._made(self._network.kept(members))  # type: ignore[operator]
        return self._ensemble([self._each[member] for member in members])

    def _ensemble(self, networks: Sequence[nn.Module]) -> "_Network":
        several = len(networks) > 1
        return self._made(Ensemble(iter(networks).__next__, len(networks)) if several else networks[0])

    def _made(self, network: nn.Module) -> "_Network":
        return _Network(network.eval(), self._batch_size, self._config)


class _Fitted:
    members = 1
    prunes_exactly = True

    def __init__(self, estimator: Estimator, exported: Exported) -> None:
        self._estimator, self._exported = estimator, exported

    def score(self, rows: Batch) -> np.ndarray:
        return self._estimator.score(rows.categorical.numpy(), rows.numeric.numpy())

    def write(self, folder: Path, sample: Arrays, columns: Columns) -> None:
        self._exported.write_onnx(folder / "model.onnx")
        save_reasons(folder, self._exported.kind, self._exported.arrays(*sample))

    def unused(self, rows: Batch) -> NDArray[np.bool_]:
        if not hasattr(self._exported, "unused"):
            raise _looks_at_all()
        return self._exported.unused()  # type: ignore[no-any-return]

    def without(self, dropped: NDArray[np.bool_], sample: Arrays) -> Model:
        return _Fitted(self._estimator, self._exported.without(dropped))  # type: ignore[attr-defined]

    def with_members(self, count: int, rows: Batch) -> Model:
        raise UserError(f"members={count} is for networks trained with model.members; leave it out for this model")
