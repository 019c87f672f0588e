"""Labels of classes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def unique(target: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The labels there are, ascending, and which of them each row has.

    Raises:
        TypeError: labels of several types do not compare.
    """
    try:
        return np.unique(target, return_inverse=True)
    except TypeError as error:
        raise TypeError(f"labels are of several types ({error}); make them one, for instance y.astype(str)") from error
