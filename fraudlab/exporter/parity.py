"""What a new bundle has to prove before it appears: the checkpoint's scores and its precision, here and elsewhere."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from fraudlab.config.plugins import loaded
from fraudlab.errors import UserError
from fraudlab.features.encoder import Arrays
from fraudlab.metrics.ranking import average_precision

MOST_DIFFERENCE = 1e-5  # in probability, between bundle and checkpoint
MOST_LOSS = 0.002  # of average precision, where weights are kept in less than single precision
_FRESH = (
    "import sys; from fraudlab.bundle import load; from fraudlab.config.plugins import load_plugins; "
    "load_plugins(sys.argv[2:]); load(sys.argv[1]).check()"
)


def difference(bundle: np.ndarray, checkpoint: np.ndarray, where: str, *, limited: bool) -> float:
    """How far two sides' probabilities [N] are apart at most.

    Args:
        bundle: by the bundle's model.
        checkpoint: by the checkpoint, in double precision.
        where: which rows, for the message.
        limited: whether they must agree.

    Raises:
        UserError: by more than 1e-5.
    """
    apart = float(np.abs(bundle.astype(np.float64) - checkpoint).max())
    if limited and not apart <= MOST_DIFFERENCE:  # also refused where one of them is NaN
        raise UserError(
            f"bundle and checkpoint differ by {apart:.2g} in probability on {where} (at most {MOST_DIFFERENCE:g}); the "
            "export is refused. Single precision is not enough for inputs far from the mean: export with "
            "precision=fp64, or train with features.encoder.clip=10"
        )
    return apart


def precision(bundle: np.ndarray, checkpoint: np.ndarray, label: np.ndarray, *, limited: bool) -> dict[str, Any]:
    """Average precision of both sides; None where there are no frauds to tell by.

    Raises:
        UserError: ``limited``, and the bundle's is lower by more than 0.002, or there are no frauds.
    """
    found = {"checkpoint": average_precision(label, checkpoint), "bundle": average_precision(label, bundle)}
    fall = found["checkpoint"] - found["bundle"]
    if limited and not fall <= MOST_LOSS:
        raise UserError(
            f"average precision on validation falls by {fall:.4f} (at most {MOST_LOSS}); "
            "export with quantize=none precision=fp64, without members= and prune_columns="
        )
    return {name: None if math.isnan(value) else value for name, value in found.items()}


def check_skew(of_records: Arrays, of_frame: Arrays) -> None:
    """Refuse a bundle that encodes raw records otherwise than training encoded their rows."""
    alike = np.array_equal(of_records.categorical, of_frame.categorical)
    if not (alike and np.array_equal(of_records.numeric, of_frame.numeric)):
        raise UserError("raw records and the training table are encoded differently; the export is refused")


def check_in_a_fresh_process(folder: Path) -> None:
    """Refuse a bundle of which another process does not get the golden scores."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", _FRESH, str(folder), *loaded()], capture_output=True, text=True
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:]
        raise UserError(f"a new process does not reproduce the golden scores; the export is refused: {' '.join(said)}")
