"""What TabNet for classes and TabNet for numbers share: ``fit``."""

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fraudlab.errors import UserError
from fraudlab.sklearn.base import TabNetEstimator, columns_in, outputs
from fraudlab.sklearn.metrics import Metric, metrics_of
from fraudlab.sklearn.pretrainer import TabNetPretrainer
from fraudlab.sklearn.tables import Rows
from fraudlab.sklearn.training import Monitor, Options, Watched, fit_network

Array = NDArray[Any]
Loss = Callable[[Tensor, Tensor], Tensor]


class SupervisedTabNet(TabNetEstimator):
    """A TabNet that learns from labels; a subclass says what kind they are of."""

    def fit(
        self,
        X_train: Any,
        y_train: Any,
        eval_set: Sequence[tuple[Any, Any]] | None = None,
        eval_name: Sequence[str] | None = None,
        eval_metric: Any = None,
        loss_fn: Loss | None = None,
        weights: Any = 0,
        max_epochs: int = 100,
        patience: int = 10,
        batch_size: int = 1024,
        virtual_batch_size: int = 128,
        num_workers: int = 0,
        drop_last: bool = True,
        callbacks: Sequence[Any] | None = None,
        pin_memory: bool = True,
        from_unsupervised: TabNetPretrainer | None = None,
        warm_start: bool = False,
        augmentations: Any = None,
        compute_importance: bool = True,
    ) -> Self:
        """Train.

        Args:
            X_train: table [N, F] of numbers: NumPy, pandas or Polars.
            y_train: classes [N]; of a regressor, numbers [N] or [N, K].
            eval_set: pairs ``(X, y)``; the last one chooses the best epoch.
            eval_name: their names; ``val_0``, ``val_1``, … by default.
            eval_metric: names or classes of metrics, see :func:`fraudlab.sklearn.metrics.metrics_of`; the last one
                chooses the best epoch.
            loss_fn: ``loss_fn(output, y)`` in the place of cross-entropy or mean squared error; ``output`` are the
                logits [B, K], ``y`` the classes' numbers [B] or the numbers [B, K].
            weights: how often a row is drawn: 0 all alike, 1 each class alike, a dictionary by class, or [N].
            max_epochs: epochs at most.
            patience: epochs without a better value after which training ends; 0 to train on and keep the last weights.
            batch_size: rows of a step.
            virtual_batch_size: rows of a ghost batch.
            num_workers: without effect: the rows are in memory and are indexed directly.
            drop_last: leave out the last batch of an epoch where it is smaller than the others.
            callbacks: objects with the methods of ``pytorch_tabnet.callbacks.Callback``.
            pin_memory: without effect.
            from_unsupervised: a fitted pretraining to start from; its columns and shape of the network hold.
            warm_start: go on with the network of the fit before.
            augmentations: ``augmentations(X, y) -> (X, y)`` on each batch, as ``pytorch_tabnet.augmentations`` has.
            compute_importance: set ``feature_importances_``, from the masks of all training rows.

        Raises:
            UserError: a ValueError: data, labels, eval sets or settings do not suit; the message says what would.
            TypeError: an argument is of a wrong kind, or the table is sparse.
        """
        warm = warm_start and from_unsupervised is None and self.__sklearn_is_fitted__()
        table, target = self._labelled(X_train, y_train, reset=not warm)
        classes = self._learn(target, warm)
        label = self._encoded(target, "y_train")
        source = None if from_unsupervised is None else self._source(from_unsupervised)
        layout, device = columns_in(source or self, table.shape[1]), self.device
        names = getattr(self, "feature_names_in_", None)
        rows = layout.rows(table, names, device)

        def eval_rows(pair: Any) -> tuple[Rows, Array]:
            if not (isinstance(pair, tuple | list) and len(pair) == 2):
                raise UserError("eval_set is a list of pairs: eval_set=[(X_valid, y_valid)]")
            X, y = self._labelled(pair[0], pair[1], reset=False)
            return layout.rows(X, names, device), self._encoded(y, "the eval set")

        eval_sets = self._named(eval_set, eval_name, eval_rows)
        metrics = metrics_of(eval_metric, self._default_metric())
        drawn = self._row_weights(weights, label)
        options = Options(max_epochs, patience, batch_size, drop_last, list(callbacks or ()), drawn)
        with self._randomness(warm):
            if hasattr(augmentations, "_set_seed"):
                augmentations._set_seed()
            if not warm:
                self._start(layout, classes, virtual_batch_size, source)
            if source is not None:
                source.start(self._tabnet())
            self._set(virtual_batch_size=virtual_batch_size)
            loss = self._loss(rows, self._tensor(label).to(device), loss_fn, augmentations)
            watched = [self._watched(name, *one, metrics) for name, one in eval_sets.items()]
            monitor = Monitor(f"{[*eval_sets][-1]}_{metrics[-1].name}", metrics[-1].maximize) if eval_sets else None
            self._keep(fit_network(self, self._network, options, len(label), loss, watched, monitor))
        self.__dict__.pop("feature_importances_", None)
        if compute_importance:
            total = self._explained(rows)[0].sum(axis=0, dtype=np.float64)
            self.feature_importances_ = total / (total.sum() or 1.0)
        return self

    def _source(self, pretrainer: Any) -> TabNetPretrainer:
        """The pretraining to start from.

        Raises:
            TypeError: it is none of fraudlab's.
            UserError: it was fitted on another number of columns.
        """
        if not isinstance(pretrainer, TabNetPretrainer):
            raise TypeError(
                f"from_unsupervised takes a fitted fraudlab.sklearn.TabNetPretrainer, not {type(pretrainer).__name__}; "
                "one of pytorch-tabnet is taken over by TabNetPretrainer().load_model(theirs.save_model(path))"
            )
        return pretrainer.pretrained_for(self)

    def _loss(self, rows: Rows, label: Tensor, loss_fn: Loss | None, augmentations: Any) -> Callable[[Tensor], Tensor]:
        """What is minimised over the rows of given numbers."""
        network, device = self._network, label.device
        of_output = loss_fn or self._default_loss()
        order = torch.tensor(self._layout.order, device=device)
        categorical, numeric = order.split([len(self._layout.categorical), len(self._layout.numeric)])
        if augmentations is not None:  # which take the table as it was given
            columns = torch.cat([rows.categorical.float(), rows.numeric], dim=1)
            whole = torch.empty_like(columns).index_copy_(1, order, columns)

        def augmented(index: Tensor, y: Tensor) -> tuple[Rows, Tensor]:
            table, changed = augmentations(whole.index_select(0, index), y.float())
            ids = table.index_select(1, categorical).long()
            return Rows(ids, table.index_select(1, numeric)), changed.to(y.dtype)

        def loss(index: Tensor) -> Tensor:
            index = index.to(device)
            y = label.index_select(0, index)
            part, y = (rows.at(index), y) if augmentations is None else augmented(index, y)
            output = network(*part)
            return of_output(output.logits, y) + output.penalty

        return loss

    def _watched(self, name: str, rows: Rows, label: Array, metrics: Sequence[Metric]) -> Watched:
        def measure() -> dict[str, float]:
            score = self._scores(outputs(self._scoring(), rows))
            return {f"{name}_{metric.name}": metric.of(label, score, name) for metric in metrics}

        return Watched(len(label), measure)

    def _predicted(self, X: Any) -> Array:
        rows = self._rows(X)
        return self._scores(outputs(self._scoring(), rows))

    # What the kind of label decides

    def _labelled(self, X: Any, y: Any, reset: bool) -> tuple[Array, Array]:
        """A table and its labels, checked."""
        raise NotImplementedError

    def _learn(self, target: Array, warm: bool) -> int:
        """Learn what the labels are; gives the number of the network's outputs."""
        raise NotImplementedError

    def _encoded(self, target: Array, where: str) -> Array:
        """Labels as metrics take them."""
        raise NotImplementedError

    def _tensor(self, label: Array) -> Tensor:
        """Labels as the loss takes them."""
        raise NotImplementedError

    def _row_weights(self, weights: Any, label: Array) -> NDArray[np.float64] | None:
        """How often each row is drawn."""
        raise NotImplementedError

    def _default_metric(self) -> str:
        raise NotImplementedError

    def _default_loss(self) -> Loss:
        raise NotImplementedError

    def _scores(self, logits: Array) -> Array:
        """What metrics see, of logits [N, K]."""
        raise NotImplementedError
