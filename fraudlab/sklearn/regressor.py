"""TabNet for numbers."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils import Tags
from torch import Tensor
from torch.nn import functional as F

from fraudlab.errors import UserError
from fraudlab.sklearn.base import row_weights
from fraudlab.sklearn.supervised import Array, Loss, SupervisedTabNet


class TabNetRegressor(RegressorMixin, SupervisedTabNet):
    """TabNet (arXiv:1908.07442) for one or more numbers, in the place of ``pytorch_tabnet.tab_model.TabNetRegressor``.

    ``predict`` gives the shape of ``y_train``: [N] of [N], [N, K] of [N, K]; pytorch-tabnet takes [N, K] alone.
    Exceptions of ``check_estimator`` are those of :class:`TabNetClassifier`.

    Attributes:
        feature_importances_: [F], adds up to 1; not of a loaded model.
        history: see :class:`fraudlab.sklearn.training.History`.

    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(400, 5))
    >>> model = TabNetRegressor(verbose=0).fit(X, X[:, 0] + X[:, 1], max_epochs=3)
    >>> model.predict(X).shape
    (400,)
    """

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def predict(self, X: Any) -> NDArray[np.float64]:
        """The predicted numbers.

        Args:
            X: table [N, F] of finite numbers, with the columns that ``fit`` saw.

        Returns:
            float64, [N] or [N, K] as ``y_train`` was.

        Raises:
            NotFittedError: before ``fit``.
            UserError: a category that ``cat_dims`` has no id for, or a number that float32 cannot hold.
        """
        found = self._predicted(X)
        return found[:, 0] if self._one_number else found

    def _labelled(self, X: Any, y: Any, reset: bool) -> tuple[Array, Array]:
        if y is not None and (text := np.asarray(y)).dtype.kind in "OUST":
            try:
                text.astype(np.float64)
            except (ValueError, TypeError) as error:
                raise UserError(
                    f"y holds text ({error}); a regressor predicts numbers: TabNetClassifier takes classes"
                ) from error
        table, target = self._table(X, y, reset=reset, multi_output=True, y_numeric=True, ensure_min_samples=2)
        return table, target.astype(np.float64)

    def _learn(self, target: Array, warm: bool) -> int:
        outputs_ = 1 if target.ndim == 1 else target.shape[1]
        if not warm:
            self._one_number, self._outputs = target.ndim == 1, outputs_
        return outputs_

    def _encoded(self, target: Array, where: str) -> Array:
        numbers = target.reshape(len(target), -1)
        if numbers.shape[1] != self._outputs:
            raise UserError(f"{where} has {numbers.shape[1]} numbers a row; y_train has {self._outputs}")
        return numbers

    def _tensor(self, label: Array) -> Tensor:
        return torch.from_numpy(label.astype(np.float32))

    def _row_weights(self, weights: Any, label: Array) -> NDArray[np.float64] | None:
        return row_weights(weights, len(label))

    def _default_metric(self) -> str:
        return "mse"

    def _default_loss(self) -> Loss:
        return F.mse_loss

    def _scores(self, logits: Array) -> NDArray[np.float64]:
        return logits.astype(np.float64)

    def _class_attrs(self) -> dict[str, Any]:
        return {"preds_mapper": None, "one_number": self._one_number}

    def _take_labels(self, class_attrs: dict[str, Any], outputs: int) -> None:
        self._one_number, self._outputs = bool(class_attrs.get("one_number")), outputs
