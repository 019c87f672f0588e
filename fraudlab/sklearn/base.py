"""What the three TabNet estimators share: their parameters, the network they make, explanations, and files."""

import copy
import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Integral
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_tabnet import tab_network
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from fraudlab.errors import UserError
from fraudlab.models.tabnet import archive
from fraudlab.models.tabnet.interop import SETTINGS, copy_from_reference, drawn_reference, to_reference
from fraudlab.models.tabnet.model import TabNet
from fraudlab.models.tabnet.pretraining import TabNetPretraining
from fraudlab.sklearn.parameters import Parameters
from fraudlab.sklearn.tables import BLOCK, Layout, Rows
from fraudlab.sklearn.training import Best, History

SHAPE = ("n_d", "n_a", "n_steps", "n_independent", "n_shared", "mask_type")
"""With the categorical columns and the groups, the settings in which a network and its pretraining agree."""
COLUMNS = ("cat_idxs", "cat_dims", "cat_emb_dim", "grouped_features")

Set = TypeVar("Set")


class TabNetEstimator(Parameters):
    """A network of TabNet, how it is made, what it explains, and its files."""

    n_features_in_: int
    _layout: Layout
    _network: TabNet | TabNetPretraining
    _shape: dict[str, Any]
    _history: History
    _best: tuple[int, float]
    _random_state: Tensor
    _scoring: "Scoring"

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        name = "cuda" if self.device_name == "auto" and torch.cuda.is_available() else self.device_name
        if name.startswith("cuda") and not torch.cuda.is_available():
            warnings.warn(f"device_name={name!r}: no CUDA device is there, so the CPU computes", stacklevel=3)
            name = "cpu"
        return torch.device("cpu" if name == "auto" else name)

    @property
    def network(self) -> nn.Module:
        """The trained network: of fraudlab, called as ``network(categorical, numeric)``, not with one table."""
        return self._network

    @property
    def history(self) -> History:
        """A value an epoch: ``history["loss"]``, ``history["lr"]``, ``history["val_0_auc"]``."""
        return self._history

    @property
    def best_epoch(self) -> int:
        """Counted from 0; there is one where an eval set chose it."""
        return self._best[0]

    @property
    def best_cost(self) -> float:
        """What the last metric of the last eval set was in :attr:`best_epoch`."""
        return self._best[1]

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_network")

    def explain(self, X: Any, normalize: bool = False) -> tuple[NDArray[np.float32], dict[int, NDArray[np.float32]]]:
        """What each row's output rests on.

        Args:
            X: table [N, F].
            normalize: let each row add up to 1; a row that rests on nothing stays 0.

        Returns:
            Importance [N, F], and for each step the mask [N, F]; a mask's rows add up to 1.
        """
        importance, masks = self._explained(self._rows(X))
        if normalize:
            sums = importance.sum(axis=1, keepdims=True)
            importance = np.divide(importance, sums, out=np.zeros_like(importance), where=sums > 0)
        return importance, masks

    def _explained(self, rows: Rows) -> tuple[NDArray[np.float32], dict[int, NDArray[np.float32]]]:
        network = self._tabnet()
        importance = np.empty((len(rows.numeric), self._layout.inputs), np.float32)
        masks = {step: np.empty_like(importance) for step in range(network.encoder.n_steps)}
        for number, part in enumerate(rows.blocks()):
            weights, steps = network.explain(*part)
            some, order = slice(BLOCK * number, BLOCK * (number + 1)), self._layout.order
            importance[some, order] = weights.cpu().numpy()
            for step, mask in enumerate(steps):
                masks[step][some, order] = mask.cpu().numpy()
        return importance, masks

    def save_model(self, path: str | Path) -> str:
        """Write a zip that ``load_model`` reads, this one's and pytorch-tabnet's.

        ``optimizer_fn`` and ``scheduler_fn`` are not in it, nor is anything else that JSON cannot hold.

        Args:
            path: ``.zip`` is appended to it.

        Returns:
            The path of the file.
        """
        check_is_fitted(self)
        layout = self._layout
        parameters = {name: value for name, value in self.get_params().items() if is_plain(value)} | {
            **self._shape,
            "cat_idxs": layout.categorical,
            "cat_dims": layout.cardinalities,
            "cat_emb_dim": layout.widths,
            "grouped_features": [[layout.order[column] for column in group] for group in self._tabnet().feature_groups],
            "input_dim": layout.inputs,
            "output_dim": len(self._network.head.weight) if isinstance(self._network, TabNet) else None,
            **{name: {} for name in ("scheduler_params",) if getattr(self, name) is None},
            **{name: {"lr": 2e-2} for name in ("optimizer_params",) if getattr(self, name) is None},
        }
        reference = to_reference(self._network, layout.categorical).cpu()
        saved = archive.save(Path(f"{path}.zip"), plain(parameters), plain(self._class_attrs()), reference)
        if self.verbose:
            print(f"Successfully saved model at {saved}")
        return str(saved)

    def load_model(self, filepath: str | Path) -> None:
        """Take over the parameters and the network of a file that ``save_model`` wrote, of either library.

        No code in the file is run. ``device_name`` stays as it is.

        Raises:
            UserError: there is no such file, or it is damaged or of another kind of estimator.
        """
        found = archive.load(filepath)
        init = {name: value for name, value in found.init_params.items() if name != "device_name"}
        if unknown := sorted(init.keys() - self.get_params().keys()):
            raise UserError(f"{filepath} has parameters that pytorch-tabnet 4.1 has not: {', '.join(unknown)}")
        kind = "TabNetRegressor" if found.class_attrs.get("preds_mapper") is None else "TabNetClassifier"
        if isinstance(found.reference, tab_network.TabNetPretraining):
            kind = "TabNetPretrainer"
        if kind not in (parent.__name__ for parent in type(self).__mro__):
            raise UserError(f"{filepath} holds a model of {kind}; load it with that")
        if init.get("cat_idxs"):  # a file has the sizes of the columns in their order
            init["cat_idxs"] = sorted(init["cat_idxs"])
        loaded = type(self)(**init, device_name=self.device_name)
        layout = Layout.of(init["input_dim"], loaded.cat_idxs, loaded.cat_dims, loaded.cat_emb_dim)
        with torch.random.fork_rng(devices=[]):
            network = loaded._made(loaded._new(layout, init.get("output_dim") or 1, 128, loaded))
        copy_from_reference(network, found.reference)
        loaded.n_features_in_ = layout.inputs
        loaded._layout, loaded._network, loaded._history = layout, network.to(loaded.device).eval(), History()
        loaded._scoring = Scoring(loaded._network)
        loaded._shape = {name: getattr(loaded, name) for name in SHAPE}
        loaded._take_labels(found.class_attrs, len(loaded._tabnet().head.weight))
        self.__dict__.clear()
        self.__dict__.update(loaded.__dict__)

    # What a kind of estimator adds

    def _made(self, network: TabNet) -> TabNet | TabNetPretraining:
        """What is trained around ``network``."""
        return network

    def _class_attrs(self) -> dict[str, Any]:
        """What a file says besides parameters and weights."""
        return {"preds_mapper": None}

    def _take_labels(self, class_attrs: dict[str, Any], outputs: int) -> None:
        """The other way round, of a network with so many outputs."""

    # Tables and networks

    def _tabnet(self) -> TabNet:
        """The TabNet in what was trained."""
        tabnet = self._network if isinstance(self._network, TabNet) else self._network.network
        assert isinstance(tabnet, TabNet)
        return tabnet

    def _table(self, X: Any, y: Any = "no_validation", reset: bool = False, **how: Any) -> Any:
        """``X``, or ``X`` and ``y``, as scikit-learn checks them: dense, finite, with the columns that ``fit`` saw."""
        return validate_data(self, X, y, reset=reset, dtype=[np.float64, np.float32], **how)

    def _rows(self, X: Any) -> Rows:
        check_is_fitted(self)
        device = next(self._network.parameters()).device
        return self._layout.rows(self._table(X), getattr(self, "feature_names_in_", None), device)

    def _named(self, eval_set: Any, eval_name: Any, read: Callable[[Any], Set]) -> dict[str, Set]:
        """The eval sets by name, as ``read`` gives them.

        Raises:
            UserError: there are others than names, or ``read`` refuses one; the message says which.
        """
        sets = list(eval_set or ())
        names = list(eval_name or (f"val_{number}" for number in range(len(sets))))
        if len(names) != len(sets) or len(set(names)) < len(names):
            raise UserError(f"eval_name={names} must give {len(sets)} different names, one for each of eval_set")
        found = {}
        for number, (name, one) in enumerate(zip(names, sets, strict=True)):
            try:
                found[name] = read(one)
            except ValueError as error:
                raise UserError(f"eval_set[{number}]: {error}") from error
        return found

    def _start(self, layout: Layout, outputs: int, virtual_batch_size: int, source: Any = None) -> None:
        """Make the network, in the shape of ``source`` (a pretraining) or of this estimator.

        Its weights are those that pytorch-tabnet draws from the same seed.
        """
        shape = source or self
        network = self._made(self._new(layout, outputs, virtual_batch_size, shape))
        torch.manual_seed(self.seed)
        copy_from_reference(network, drawn_reference(network, layout.categorical))
        self._layout, self._network = layout, network.to(self.device)
        self._scoring = Scoring(self._network)
        self._shape = {name: getattr(shape, name) for name in SHAPE}

    def _new(self, layout: Layout, outputs: int, virtual_batch_size: int, shape: Any) -> TabNet:
        return TabNet(
            layout.cardinalities,
            len(layout.numeric),
            outputs,
            embedding_dim=layout.widths,
            feature_groups=layout.groups(shape.grouped_features) or None,
            sparsity=self.lambda_sparse,
            virtual_batch_size=virtual_batch_size,
            **{name: getattr(shape if name in SHAPE else self, name) for name in SETTINGS},
        )

    def _set(self, **settings: Any) -> None:
        """Give a network that is trained on the settings of this fit."""
        for module in self._network.modules():
            for name, value in settings.items():
                if hasattr(module, name):
                    setattr(module, name, value)

    @contextmanager
    def _randomness(self, warm: bool) -> Iterator[None]:
        """Draws inside leave PyTorch's generators as they were; a warm start goes on where the fit before ended."""
        device = self.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            if warm and hasattr(self, "_random_state"):
                torch.set_rng_state(self._random_state)
            self._history = History()
            yield
            self._random_state = torch.get_rng_state()

    def _keep(self, best: Best | None) -> None:
        """Remember how a fit went."""
        self._network.eval()
        self.__dict__.pop("_best", None)
        if best is not None:
            self._best = (best.epoch, best.value)


class Scoring:
    """Gives what scores as a network does with its weights of now, in evaluation.

    On a CPU that is a copy in double precision, so that a row's score does not follow the rows beside it.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self._copy: nn.Module | None = None
        self._pairs: list[tuple[Tensor, Tensor]] = []

    def __call__(self) -> nn.Module:
        if next(self.network.parameters()).device.type != "cpu":
            return self.network.eval()
        if self._copy is None:
            self._copy = copy.deepcopy(self.network).double().eval()
            both = ([*one.parameters(), *one.buffers()] for one in (self._copy, self.network))
            self._pairs = list(zip(*both, strict=True))
        with torch.no_grad():
            for doubled, single in self._pairs:
                doubled.copy_(single)
        return self._copy

    def __getstate__(self) -> dict[str, Any]:
        return {"network": self.network, "_copy": None, "_pairs": []}


def columns_in(estimator: TabNetEstimator, inputs: int) -> Layout:
    """Where an estimator's parameters say that the categorical columns stand in a table of so many columns."""
    return Layout.of(inputs, estimator.cat_idxs, estimator.cat_dims, estimator.cat_emb_dim)


def row_weights(weights: Any, rows: int, also: str = "") -> NDArray[np.float64] | None:
    """The argument ``weights`` where it is 0 or a number a row; None for 0.

    Raises:
        UserError: it is neither; ``also`` says what else an estimator takes.
    """
    if isinstance(weights, Integral) and weights == 0:
        return None
    try:
        found = np.asarray(weights, np.float64)
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.shape != (rows,) or not (np.isfinite(found).all() and (found >= 0).all() and found.any()):
        kinds = ", ".join(filter(None, ["0 (all rows alike)", also]))
        raise UserError(f"weights takes {kinds} or {rows} numbers, none below 0, one for each row of the training")
    return found


@torch.inference_mode()
def outputs(network: nn.Module, rows: Rows) -> NDArray[Any]:
    """Logits [N, K] of the rows, by what ``_scoring`` of an estimator gave."""
    real = next(network.parameters()).dtype
    logits = [network(part.categorical, part.numeric.to(real)).logits for part in rows.blocks()]
    return torch.cat(logits).cpu().numpy()


def is_plain(value: Any) -> bool:
    try:
        json.dumps(plain(value))
    except TypeError:
        return False
    return True


def plain(value: Any) -> Any:
    """``value`` without NumPy's types."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value
