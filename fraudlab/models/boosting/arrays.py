"""What the libraries of boosted trees are given, and told of validation."""

import numpy as np
from numpy.typing import NDArray

from fraudlab.metrics.ranking import average_precision


def joined(categorical: NDArray[np.int64], numeric: NDArray[np.float32]) -> NDArray[np.float32]:
    """Ids, then numbers: float32 [B, C + N]. Ids are whole up to 2^24, more than any vocabulary here holds."""
    return np.hstack([categorical.astype(np.float32), numeric])


def measure(label: NDArray, score: NDArray) -> float:
    """Average precision; 0 where there is no fraud, which libraries can compare."""
    return float(np.nan_to_num(average_precision(label, score)))
