"""TabNet's self-supervised pretraining, in the place of pytorch-tabnet's."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from fraudlab.errors import UserError
from fraudlab.models.reconstruction import Reconstruction, reconstruction_loss
from fraudlab.models.tabnet.model import TabNet
from fraudlab.models.tabnet.pretraining import TabNetPretraining
from fraudlab.sklearn.base import COLUMNS, SHAPE, TabNetEstimator, columns_in, plain, row_weights
from fraudlab.sklearn.tables import Rows
from fraudlab.sklearn.training import Monitor, Options, Watched, fit_network

METRIC = "unsup_loss_numpy"  # as pytorch-tabnet calls it in its history


class TabNetPretrainer(TabNetEstimator):
    """Learns the columns of a table from each other, without labels (section 3.4 of arXiv:1908.07442).

    ``TabNetClassifier.fit(..., from_unsupervised=pretrainer)`` starts from what it has learnt. Parameters are those of
    pytorch-tabnet's ``TabNetPretrainer``; ``n_shared_decoder`` and ``n_indep_decoder`` are the decoder's layers.

    Of ``sklearn.utils.estimator_checks.check_estimator`` two checks do not suit: ``check_fit_score_takes_y``, since the
    second argument of ``fit`` is ``eval_set`` as in pytorch-tabnet (the others pass where a subclass takes a ``y`` and
    leaves it), and ``check_methods_sample_order_invariance``, which indexes what ``predict`` gives as one array.

    >>> import numpy as np
    >>> from fraudlab.sklearn import TabNetClassifier
    >>> X = np.random.default_rng(0).normal(size=(400, 5))
    >>> pretrainer = TabNetPretrainer(verbose=0).fit(X, max_epochs=2)
    >>> reconstruction, embedded = pretrainer.predict(X)
    >>> reconstruction.shape
    (400, 5)
    >>> model = TabNetClassifier(verbose=0).fit(X, X[:, 0] > 0, max_epochs=2, from_unsupervised=pretrainer)
    """

    def fit(
        self,
        X_train: Any,
        eval_set: Sequence[Any] | None = None,
        eval_name: Sequence[str] | None = None,
        loss_fn: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
        pretraining_ratio: float = 0.5,
        weights: Any = 0,
        max_epochs: int = 100,
        patience: int = 10,
        batch_size: int = 1024,
        virtual_batch_size: int = 128,
        num_workers: int = 0,
        drop_last: bool = True,
        callbacks: Sequence[Any] | None = None,
        pin_memory: bool = True,
        warm_start: bool = False,
    ) -> Self:
        """Train.

        Args:
            X_train: table [N, F] of numbers: NumPy, pandas or Polars.
            eval_set: tables; the reconstruction loss of the last one chooses the best epoch.
            eval_name: their names; ``val_0``, ``val_1``, … by default.
            loss_fn: ``loss_fn(reconstruction, embedded, obfuscated)``, each [B, D], in the place of the error in units
                of each column's variance.
            pretraining_ratio: probability, in (0, 1), that a column is hidden.
            weights: how often a row is drawn: 0 all alike, or [N].
            max_epochs: epochs at most.
            patience: epochs without a better loss after which training ends; 0 to train on.
            batch_size: rows of a step.
            virtual_batch_size: rows of a ghost batch.
            num_workers: without effect.
            drop_last: leave out the last batch of an epoch where it is smaller than the others.
            callbacks: objects with the methods of ``pytorch_tabnet.callbacks.Callback``.
            pin_memory: without effect.
            warm_start: go on with the network of the fit before.

        Raises:
            UserError: a ValueError: data or settings do not suit; the message says what would.
            TypeError: the table is sparse.
        """
        if not 0 < pretraining_ratio < 1:
            raise UserError(f"pretraining_ratio={pretraining_ratio} must lie between 0 and 1")
        warm = warm_start and self.__sklearn_is_fitted__()
        table = self._table(X_train, reset=not warm, ensure_min_samples=2)
        layout, device = columns_in(self, table.shape[1]), self.device
        names = getattr(self, "feature_names_in_", None)
        rows = layout.rows(table, names, device)
        tables = self._named(
            eval_set, eval_name, lambda X: layout.rows(self._table(X, ensure_min_samples=2), names, device)
        )
        options = Options(
            max_epochs, patience, batch_size, drop_last, list(callbacks or ()), row_weights(weights, len(table))
        )
        with self._randomness(warm):
            if not warm:
                self._start(layout, 1, virtual_batch_size)
            self._set(virtual_batch_size=virtual_batch_size, pretraining_ratio=pretraining_ratio)
            network = self._network
            embedded = torch.tensor(layout.embedded, device=device)

            def loss(index: Tensor) -> Tensor:
                part: Reconstruction = network(*rows.at(index.to(device)))
                if loss_fn is None:
                    return reconstruction_loss(*part)
                return loss_fn(*(columns.new_empty(columns.shape).index_copy(1, embedded, columns) for columns in part))

            watched = [self._watched(name, one) for name, one in tables.items()]
            monitor = Monitor(f"{[*tables][-1]}_{METRIC}", False) if tables else None
            self._keep(fit_network(self, network, options, len(table), loss, watched, monitor))
        return self

    def predict(self, X: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The decoder's reconstruction and the embedded columns, each float32 [N, D]; nothing is hidden."""
        rows = self._rows(X)
        parts = _reconstructed(self._scoring(), rows)
        made = tuple(np.empty(part.shape, np.float32) for part in parts[:2])
        for columns, part in zip(made, parts[:2], strict=True):
            columns[:, self._layout.embedded] = part.cpu().numpy()
        return made[0], made[1]

    def _watched(self, name: str, rows: Rows) -> Watched:
        def measure() -> dict[str, float]:
            return {f"{name}_{METRIC}": float(reconstruction_loss(*_reconstructed(self._scoring(), rows)))}

        return Watched(len(rows.numeric), measure)

    def pretrained_for(self, estimator: TabNetEstimator) -> Self:
        """Itself, fitted and for as many columns as ``estimator`` has; a warning names the settings that differ.

        Raises:
            NotFittedError: it is not fitted.
            UserError: it was fitted on another number of columns.
        """
        check_is_fitted(self)
        ours, theirs = self.n_features_in_, estimator.n_features_in_
        if ours != theirs:
            raise UserError(
                f"from_unsupervised was fitted on {ours} columns, and X_train has {theirs}; give both the same"
            )
        settings = {name: (plain(getattr(self, name)), plain(getattr(estimator, name))) for name in (*SHAPE, *COLUMNS)}
        if differing := [f"{name}={mine}" for name, (mine, other) in settings.items() if (mine or []) != (other or [])]:
            warnings.warn(
                f"the network has the settings of from_unsupervised: {', '.join(differing)}; give both the same",
                stacklevel=3,
            )
        return self

    def start(self, network: TabNet) -> None:
        """Give ``network`` what was learnt; its head stays as it is."""
        learnt = {name: part for name, part in self._tabnet().state_dict().items() if not name.startswith("head.")}
        network.load_state_dict(learnt, strict=False)

    def _made(self, network: TabNet) -> TabNetPretraining:
        return TabNetPretraining(
            network,
            pretraining_ratio=0.5,  # fit sets its own
            n_shared_decoder=self.n_shared_decoder,
            n_independent_decoder=self.n_indep_decoder,
        )


@torch.inference_mode()
def _reconstructed(network: Any, rows: Rows) -> Reconstruction:
    real = next(network.parameters()).dtype
    made = [network(part.categorical, part.numeric.to(real)) for part in rows.blocks()]
    return Reconstruction(*(torch.cat(columns) for columns in zip(*made, strict=True)))
