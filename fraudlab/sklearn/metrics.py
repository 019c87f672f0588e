"""What ``eval_metric`` names: scikit-learn's metrics under pytorch-tabnet's names, or metrics of the user's own."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics

from fraudlab.errors import UserError
from fraudlab.metrics.ranking import roc_auc

Array = NDArray[Any]


class Metric(NamedTuple):
    """``measure(y_true, y_score)``: classes' numbers [N] and probabilities [N, K], or numbers [N, K] both."""

    name: str
    maximize: bool
    measure: Callable[[Array, Array], float]

    def of(self, y: Array, score: Array, name: str) -> float:
        """The metric of the eval set ``name``.

        Raises:
            UserError: it has none for such labels.
        """
        try:
            return float(self.measure(y, score))
        except ValueError as error:
            raise UserError(f"eval_metric={self.name} cannot be computed of {name}: {error}") from error


def _auc(y: Array, score: Array) -> float:
    if score.shape[1] != 2:
        raise ValueError("it is of two classes; use accuracy, balanced_accuracy or logloss")
    return roc_auc(y, score[:, 1])  # as scikit-learn's, faster


METRICS = {
    metric.name: metric
    for metric in (
        Metric("auc", True, _auc),
        Metric("accuracy", True, lambda y, score: metrics.accuracy_score(y, score.argmax(axis=1))),
        Metric("balanced_accuracy", True, lambda y, score: metrics.balanced_accuracy_score(y, score.argmax(axis=1))),
        Metric("logloss", False, lambda y, score: metrics.log_loss(y, score, labels=range(score.shape[1]))),
        Metric("mae", False, metrics.mean_absolute_error),
        Metric("mse", False, metrics.mean_squared_error),
        # Of several numbers a row, the root of the mean over all, not the mean of their roots.
        Metric("rmse", False, lambda y, score: metrics.mean_squared_error(y, score) ** 0.5),
        # As pytorch-tabnet's: a negative prediction counts as 0.
        Metric("rmsle", False, lambda y, score: metrics.mean_squared_log_error(y, np.maximum(score, 0)) ** 0.5),
    )
}


def metrics_of(eval_metric: Any, default: str) -> list[Metric]:
    """The metrics that ``eval_metric`` names, ``default`` where it names none.

    Args:
        eval_metric: names, or classes with the attributes ``_name`` and ``_maximize`` and ``__call__(y_true,
            y_score)``, as ``pytorch_tabnet.metrics.Metric`` has them.
        default: name of a metric.

    Raises:
        UserError: there is no such metric.
        TypeError: it is neither a name nor such a class.
    """
    named: Sequence[Any] = [eval_metric] if isinstance(eval_metric, str | type) else list(eval_metric or [default])
    return [_metric(one) for one in named]


def _metric(one: Any) -> Metric:
    if isinstance(one, str):
        if one not in METRICS:
            raise UserError(
                f"eval_metric={one!r} does not exist; it is one of: {', '.join(METRICS)}; a metric of your own is "
                "given as its class"
            )
        return METRICS[one]
    made = one() if isinstance(one, type) else one
    if not callable(made) or not hasattr(made, "_name") or not hasattr(made, "_maximize"):
        raise TypeError(
            f"eval_metric takes names ({', '.join(METRICS)}) or classes with _name, _maximize and "
            f"__call__(y_true, y_score), not {one!r}"
        )
    return Metric(made._name, bool(made._maximize), made)
