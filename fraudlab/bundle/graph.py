"""A bundle's model as ONNX Runtime computes it, with what its reasons are made of."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fraudlab.bundle.ort import onnxruntime
from fraudlab.bundle.reasons import Contributions, load_reasons
from fraudlab.errors import UserError
from fraudlab.features.encoder import Arrays
from fraudlab.features.joined import Encoder
from fraudlab.metrics.calibration import log_odds

_BLOCK = 128  # rows of one call: what the model computes of them stays in the processor's cache


class Scorer(Protocol):
    """What gives the scores of a bundle."""

    @property
    def has_masks(self) -> bool:
        """Whether :meth:`importance` gives something."""
        ...

    @property
    def contributions(self) -> Contributions | None:
        """What each encoded column adds to the log-odds; None where the model does not tell."""
        ...

    def probability(self, arrays: Arrays) -> NDArray[np.float32]:
        """Probability of fraud [n]."""
        ...

    def importance(self, arrays: Arrays) -> NDArray[np.float32]:
        """What the model looked at [n, C + N]."""
        ...

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """Of the members, [M], with the sum 1; None where there is one, or their probabilities are not told."""
        ...

    def by_member(self, arrays: Arrays) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """:meth:`probability` [n], and what each member gives [n, M]; where there are ``weights``."""
        ...


class Graph:
    """``model.onnx`` and, where it is there, ``reasons.safetensors`` of a folder; a :class:`Scorer`.

    Args:
        folder: where they lie.
        encoder: of the arrays that the model reads.
        threads: of one call.

    Raises:
        UserError: the files are not what an export writes, or are of another encoder.
    """

    def __init__(self, folder: Path, encoder: Encoder, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        try:
            self._session = onnxruntime.InferenceSession(
                (folder / "model.onnx").read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's own, one for each kind of fault
            raise UserError(f"bundle {folder}: model.onnx cannot be run ({line(error)}); export again") from error
        inputs, outputs = self._session.get_inputs(), [output.name for output in self._session.get_outputs()]
        self._inputs = [given.name for given in inputs]
        widths = {"categorical": len(encoder.categorical), "numeric": encoder.num_numeric}
        found = {given.name: given.shape[-1] for given in inputs}
        wrong = [name for name, width in found.items() if isinstance(width, int) and width != widths.get(name)]
        if wrong or "score" not in outputs:
            raise UserError(f"bundle {folder}: model.onnx is not the model of this encoder ({found}); export again")
        self.has_masks = "importance" in outputs
        members = {output.name: output.shape[-1] for output in self._session.get_outputs()}.get("members")
        self.weights = np.full(members, 1 / members) if isinstance(members, int) and members > 1 else None
        self.contributions = load_reasons(folder, lambda rows: log_odds(self.probability(rows)))

    def probability(self, arrays: Arrays) -> NDArray[np.float32]:
        return self._run(("score",), arrays)[0]

    def importance(self, arrays: Arrays) -> NDArray[np.float32]:
        return self._run(("importance",), arrays)[0]

    def by_member(self, arrays: Arrays) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        score, members = self._run(("score", "members"), arrays)
        return score, members

    def _run(self, outputs: Sequence[str], arrays: Arrays) -> list[NDArray[np.float32]]:
        given = {name: getattr(arrays, name) for name in self._inputs}
        blocks = [
            self._session.run(outputs, {name: array[start : start + _BLOCK] for name, array in given.items()})
            for start in range(0, len(arrays.numeric), _BLOCK)
        ]
        if not blocks:  # the loop of its masks would never end on no rows
            widths = {"importance": arrays.categorical.shape[1] + arrays.numeric.shape[1]}
            if self.weights is not None:
                widths["members"] = len(self.weights)
            return [np.empty((0, widths[name]) if name in widths else 0, np.float32) for name in outputs]
        return blocks[0] if len(blocks) == 1 else [np.concatenate(each) for each in zip(*blocks, strict=True)]


def line(error: Exception) -> str:
    """An error's type and the first line of its text."""
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
