"""Several models in one bundle, whose probabilities are averaged by weights."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudlab.bundle.graph import Graph
from fraudlab.errors import UserError
from fraudlab.features.encoder import Arrays
from fraudlab.features.joined import Encoder, parts_of, split
from fraudlab.metrics.calibration import log_odds, sigmoid

FILE = "blend.json"
_NEAR = 1e-6  # log-odds so near each other that the curve between them is a line


def member_folder(bundle: Path, number: int) -> Path:
    """Where ``model.onnx`` and ``reasons.safetensors`` of a blend's member lie."""
    return bundle / "members" / str(number) if number else bundle


class Blend:
    """The weighted mean of the members' probabilities; a :class:`fraudlab.bundle.graph.Scorer`.

    Each member gives contributions to its own log-odds. They are taken to those of the blend by the generalised rescale
    rule (Chen, Lundberg and Lee 2022, arXiv:2105.00108): a member's are multiplied by what its probability rises by for
    each unit of its log-odds, between its base and the row, and by its weight; their sum by the inverse of that for the
    blend. So base and contributions of a row add up to the log-odds of the blend's probability.

    Args:
        folder: of the bundle.
        encoder: of the bundle.
        members: of each, ``weight`` and ``encoder``, the number of the part of the encoder that it reads.
        threads: of one call of a member.

    Raises:
        ValueError, KeyError, TypeError: ``members`` are not what an export writes.
        UserError: a member's files are not, or it gives no contributions.
    """

    has_masks = False

    def __init__(self, folder: Path, encoder: Encoder, members: Sequence[Mapping[str, Any]], threads: int) -> None:
        self._encoder = encoder
        self._weights = np.array([member["weight"] for member in members], np.float64)
        if not (self._weights > 0).all() or not math.isclose(self._weights.sum(), 1.0, rel_tol=1e-9):
            raise ValueError(f"weights {self._weights.tolist()} are not above 0 with the sum 1")
        self.weights = self._weights if len(members) > 1 else None
        self._of_part = [int(member["encoder"]) for member in members]
        parts = parts_of(encoder)
        self._members = [Graph(member_folder(folder, i), parts[part], threads) for i, part in enumerate(self._of_part)]
        self._contributions = [member.contributions for member in self._members if member.contributions is not None]
        if len(self._contributions) < len(members):
            raise UserError(f"bundle {folder}: a member of the blend has no reasons; blend its runs again")
        self._bases = np.array([each.base for each in self._contributions])
        self.base = float(log_odds(self._weights @ sigmoid(self._bases)))
        self.contributions = self

    def probability(self, arrays: Arrays) -> NDArray[np.float32]:
        return self.by_member(arrays)[0]

    def by_member(self, arrays: Arrays) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        parts = split(self._encoder, arrays)
        each = [member.probability(parts[part]) for member, part in zip(self._members, self._of_part, strict=True)]
        return mean(self._weights, each), np.stack(each, axis=1)

    def importance(self, arrays: Arrays) -> NDArray[np.float32]:
        raise NotImplementedError("a blend has no masks")

    def __call__(self, categorical: NDArray[np.int64], numeric: NDArray[np.float32]) -> NDArray[np.float64]:
        """As :class:`fraudlab.bundle.reasons.Contributions` has it."""
        parts = split(self._encoder, Arrays(categorical, numeric))
        found = [np.zeros((len(numeric), part.categorical.shape[1] + part.numeric.shape[1])) for part in parts]
        probability = np.zeros(len(numeric))
        for weight, contributions, part in zip(self._weights, self._contributions, self._of_part, strict=True):
            own = contributions(*parts[part])
            odds = contributions.base + own.sum(axis=1)
            found[part] += (weight * _rise(odds, contributions.base))[:, None] * own
            probability += weight * sigmoid(odds)
        scale = 1 / _rise(log_odds(probability), self.base)
        ids = [each[:, : part.categorical.shape[1]] for each, part in zip(found, parts, strict=True)]
        numbers = [each[:, part.categorical.shape[1] :] for each, part in zip(found, parts, strict=True)]
        return scale[:, None] * np.concatenate([*ids, *numbers], axis=1)


def mean(weights: NDArray[np.float64], probabilities: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
    """Weighted mean [n] of probabilities [n] each, summed in double precision."""
    return (weights @ np.stack(probabilities).astype(np.float64)).astype(np.float32)


def _rise(odds: NDArray[np.float64], base: float) -> NDArray[np.float64]:
    """By how much the probability rises for each unit of log-odds between ``base`` and ``odds`` [n]."""
    apart = odds - base
    middle = sigmoid((odds + base) / 2)
    near = np.abs(apart) < _NEAR
    rise = (sigmoid(odds) - sigmoid(np.array(base))) / np.where(near, 1.0, apart)
    return np.where(near, middle * (1 - middle), rise)
