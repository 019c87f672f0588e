"""What every model takes and gives, and what it declares of itself. Imports no torch, so that all may read it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # heavy
    from torch import Tensor


class Facts(NamedTuple):
    """What a setting that is ``auto`` follows from: training rows, frauds among them, columns, rows of a batch."""

    rows: int
    frauds: int
    cardinalities: tuple[int, ...]
    num_numeric: int
    batch_size: int


MOST_EMBEDDED = 64


def suiting_embedding(facts: Facts) -> str:
    """The embedding of numbers that suits a table: of hundreds of columns the many numbers are learnt by heart."""
    return "piecewise_linear" if facts.num_numeric <= MOST_EMBEDDED else "none"


@dataclass(frozen=True)
class ModelPart:
    """What ``model=<name>`` stands for.

    Attributes:
        kind: ``network``, trained by Lightning, or ``estimator``, fitted by its own library.
        make: of a network, a function ``(cardinalities, num_numeric, **settings) -> Network`` or a class with such
            arguments; of an estimator, its class, an :class:`Estimator`. Or ``module:attribute``, where that is.
        install: what ``pip install`` brings where its library is missing.
        not_the_network: settings that say how a network is trained and are no argument of ``make``.
        weights_follow: settings that decide which weights a network has; a pretraining and a training from it agree in
            them.
        pretraining: settings that a pretraining needs; None where the network has no ability ``pretraining``.
        single_precision: what of the network needs single precision; empty where nothing does.
        rounds: of an estimator, the setting that bounds its rounds; None where it has none.
        auto: settings that may be ``auto``, each with the rule that gives its number.
        optimizer: of a network, what ``auto`` is in the optimizer: its ``lr``, ``weight_decay`` and ``decay``.
    """

    kind: Literal["network", "estimator"]
    make: str | Callable[..., Any]
    install: str = "fraudlab[gbdt]"
    not_the_network: tuple[str, ...] = ("compile",)
    weights_follow: tuple[str, ...] = ()
    pretraining: Mapping[str, Any] | None = None
    single_precision: str = ""
    rounds: str | None = None
    auto: Mapping[str, Callable[[Facts], Any]] = field(default_factory=dict)
    optimizer: Mapping[str, Any] = field(default_factory=lambda: {"lr": 0.02, "weight_decay": 0.01, "decay": "all"})

    @property
    def step(self) -> str:
        """What the length of a fit is counted in: ``epoch`` or ``round``; empty where there is nothing to count."""
        return "epoch" if self.kind == "network" else "round" if self.rounds else ""

    @property
    def unused(self) -> tuple[str, ...]:
        """Settings of a training that do nothing to the model."""
        return () if self.kind == "network" else UNUSED_BY_ESTIMATORS


UNUSED_BY_ESTIMATORS = (
    "optimizer",
    "scheduler",
    "trainer",
    "callbacks",
    "batch_size",
    "eval_batch_size",
    "keep_on_device",
)


class NetworkOutput(NamedTuple):
    """What a network says of a batch.

    ``logits``: float [B, K], or [B, M, K] of an ensemble's M members: each member learns from its own loss, and the
    probability is the mean of the members' probabilities. ``penalty``: float [], what the network itself adds to the
    loss (0 if nothing).
    """

    logits: "Tensor"
    penalty: "Tensor"


class Network(Protocol):
    """A ``torch.nn.Module`` that is called with two tensors.

    ``categorical``: int64 [B, C], ids in ``[0, cardinalities[c])``. ``numeric``: float32 [B, N], no NaN; float64 where
    scores are computed, after ``network.double()``.

    It may have abilities, which are found by their names:

    - ``prepare(categorical, numeric)``: called once before a fit with all its training rows, in the same dtypes. What
      the network takes from them it holds as buffers, so that checkpoints and exports have it.
    - ``explain(categorical, numeric) -> (importance [B, C + N], masks)``: what each score rests on.
    - ``without(dropped, categorical, numeric) -> Module``: a copy without the input columns of bool [C + N], of which
      ``explain`` gave 0 everywhere; of the rows it may take means that stand for them.
    - ``exported() -> Module``: a copy that is arranged for ONNX, in evaluation, and called alike. Where the copy's
      attribute ``gives_importance`` is true it gives ``(logits [B, K], importance [B, C + N])``, else a
      :class:`NetworkOutput`. Without the ability the network itself is exported.
    - ``kept(members: Sequence[int]) -> Module``: of a network with ``k`` members, a copy with those of these numbers
      alone.
    - ``pretraining(**settings) -> Module``: what pretrains the network, as
      :mod:`fraudlab.models.reconstruction` has it. The weights under ``head.`` are left to the training.
    """

    def __call__(self, categorical: "Tensor", numeric: "Tensor") -> NetworkOutput: ...


OnRound = Callable[[float], None]
"""Called after each round of boosting with the average precision on validation."""


class Examples(NamedTuple):
    """Encoded rows with their labels: ``categorical`` int64 [B, C], ``numeric`` float32 [B, N], ``label`` int64 [B].

    ``weight`` float32 [B] says how much is learnt from each; None where it is 1 of all.
    """

    categorical: NDArray[np.int64]
    numeric: NDArray[np.float32]
    label: NDArray[np.int64]
    weight: NDArray[np.float32] | None = None


class Exported(Protocol):
    """An estimator as plain arrays, which needs its library no more.

    It may have the abilities ``unused() -> bool [C + N]``, the columns that no score follows, and ``without(dropped) ->
    Exported``, the same model without such columns.

    Attributes:
        kind: what makes reasons of :meth:`arrays`, a key of ``KINDS`` in :mod:`fraudlab.bundle.reasons`.
    """

    kind: str

    def write_onnx(self, path: Path) -> None:
        """Write a model with the output ``score`` float32 [n].

        Its inputs are ``categorical`` int64 [n, C] and ``numeric`` float32 [n, N], one of width 0 left out.
        """
        ...

    def arrays(self, categorical: NDArray[np.int64], numeric: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """What reasons are made of; the rows are some of those that it has learnt from."""
        ...


class Estimator(Protocol):
    """A fitted model of another library.

    It may have the ability ``exported(cardinalities, num_numeric) -> Exported``, found by its name; without it there is
    no bundle of the model. It may have the attribute ``chosen``: settings that were ``auto`` and that it chose on
    validation, by key; the second fit of a run gets them.

    Attributes:
        FILE: name of the file it is saved to.
        rounds: trees, or steps of the solver, that it is made of.
    """

    FILE: str
    rounds: int

    @classmethod
    def fit(
        cls,
        train: Examples,
        validation: Examples | None,
        cardinalities: Sequence[int],
        settings: Any,
        *,
        fraud_weight: float,
        seed: int,
        on_round: OnRound,
    ) -> Self:
        """Fit to ``train``.

        Args:
            train: rows to learn from.
            validation: rows on whose average precision boosting stops and the best round is chosen; None to take
                the last.
            cardinalities: number of ids of each categorical column.
            settings: the model's own, typed.
            fraud_weight: weight of a fraud where a genuine row has 1, times the row's own.
            seed: of every draw; the same seed on as many threads gives the same model.
            on_round: told of each round, where there is a validation and rounds.
        """
        ...

    def score(self, categorical: NDArray[np.int64], numeric: NDArray[np.float32]) -> NDArray[np.float32]:
        """Fraud probability [B]."""
        ...

    def save(self, path: Path) -> None:
        """Write the model to ``path`` in its library's own format."""
        ...

    @classmethod
    def load(cls, path: Path) -> Self:
        """The model that :meth:`save` wrote; the file must be whole."""
        ...
