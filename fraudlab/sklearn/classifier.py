"""TabNet for classes."""

from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from torch import Tensor
from torch.nn import functional as F

from fraudlab.errors import UserError
from fraudlab.sklearn.base import row_weights
from fraudlab.sklearn.labels import unique
from fraudlab.sklearn.supervised import Array, Loss, SupervisedTabNet


class TabNetClassifier(ClassifierMixin, SupervisedTabNet):
    """TabNet (arXiv:1908.07442) for two or more classes, in the place of ``pytorch_tabnet.tab_model.TabNetClassifier``.

    The same seed draws the same weights and the same batches as there. The differences are in
    docs/migrating_from_pytorch_tabnet.md.

    ``sklearn.utils.estimator_checks.check_estimator`` passes with one exception: ``check_fit_score_takes_y`` requires
    the second argument of ``fit`` to be called ``y``; here it is ``y_train``, as scripts for pytorch-tabnet name it.

    Attributes:
        classes_: labels [K], ascending.
        feature_importances_: [F], adds up to 1; not of a loaded model.
        history: see :class:`fraudlab.sklearn.training.History`.

    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(400, 5))
    >>> model = TabNetClassifier(verbose=0).fit(X, X[:, 0] > 0, max_epochs=3)
    >>> model.predict_proba(X).shape
    (400, 2)
    """

    classes_: Array

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Probability of each class.

        Args:
            X: table [N, F] of finite numbers, with the columns that ``fit`` saw.

        Returns:
            float32 [N, K], in the order of ``classes_``; a row adds up to 1.

        Raises:
            NotFittedError: before ``fit``.
            UserError: a category that ``cat_dims`` has no id for, or a number that float32 cannot hold.
        """
        return self._predicted(X)

    def predict(self, X: Any) -> Array:
        """The most likely class [N] of each row of a table [N, F], as a label of ``classes_``."""
        most: Array = self._predicted(X).argmax(axis=1)
        return self.classes_[most]

    def _labelled(self, X: Any, y: Any, reset: bool) -> tuple[Array, Array]:
        table, target = self._table(X, y, reset=reset)
        check_classification_targets(target)
        return table, target

    def _learn(self, target: Array, warm: bool) -> int:
        if not warm:
            self.classes_ = unique(target)[0]
        if len(self.classes_) < 2:
            raise UserError(
                f"y_train holds one class only, {self.classes_.tolist()[0]!r}; a classifier needs at least 2 classes"
            )
        return len(self.classes_)

    def _encoded(self, target: Array, where: str) -> Array:
        labels, number = unique(target)
        known = {label: index for index, label in enumerate(self.classes_.tolist())}
        if unknown := [label for label in labels.tolist() if label not in known]:
            raise UserError(
                f"{where} has classes that training has not: {', '.join(map(repr, unknown))}; known are "
                f"{', '.join(map(repr, known))}: leave those rows out, or train on rows of each class"
            )
        return np.array([known[label] for label in labels.tolist()], np.int64)[number]

    def _tensor(self, label: Array) -> Tensor:
        return torch.from_numpy(label)

    def _row_weights(self, weights: Any, label: Array) -> NDArray[np.float64] | None:
        if isinstance(weights, dict):
            classes = self.classes_.tolist()
            if weights.keys() ^ set(classes):
                raise UserError(f"weights has the classes {list(weights)}; give one weight for each of {classes}")
            return row_weights(np.array([weights[name] for name in classes], np.float64)[label], len(label))
        if isinstance(weights, Integral) and weights == 1:
            return 1 / np.bincount(label)[label]
        return row_weights(weights, len(label), "1 (each class alike), a dictionary by class")

    def _default_metric(self) -> str:
        return "auc" if len(self.classes_) == 2 else "accuracy"

    def _default_loss(self) -> Loss:
        return F.cross_entropy

    def _scores(self, logits: Array) -> NDArray[np.float32]:
        return torch.softmax(torch.from_numpy(logits), dim=1).numpy().astype(np.float32)

    def _class_attrs(self) -> dict[str, Any]:
        return {"preds_mapper": {str(index): label for index, label in enumerate(self.classes_.tolist())}}

    def _take_labels(self, class_attrs: dict[str, Any], outputs: int) -> None:
        mapper = class_attrs["preds_mapper"]
        self.classes_ = np.array([mapper[str(index)] for index in range(len(mapper))])
