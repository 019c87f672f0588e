"""The loop in which the TabNet estimators train: pytorch-tabnet's, in the order of rows that it draws from a seed."""

import datetime
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, WeightedRandomSampler

from fraudlab.errors import DIVERGED, UserError

FUSED = (torch.optim.Adam, torch.optim.AdamW)


class History(dict[str, list[float]]):
    """By name, a value an epoch: ``loss``, ``lr``, and ``<eval name>_<metric>`` of each eval set."""

    @property
    def history(self) -> "History":
        """Itself, as pytorch-tabnet names it."""
        return self


@dataclass(frozen=True)
class Options:
    """Arguments of ``fit``, by their names there; ``weights``: how often each row [N] is drawn, None for once."""

    max_epochs: int
    patience: int
    batch_size: int
    drop_last: bool
    callbacks: Sequence[Any]
    weights: NDArray[np.float64] | None

    def __post_init__(self) -> None:
        for name, least in (("max_epochs", 1), ("patience", 0), ("batch_size", 2)):
            if getattr(self, name) < least:
                raise UserError(f"{name}={getattr(self, name)} is too small; it must be at least {least}")


class Watched(NamedTuple):
    """An eval set of so many rows: ``measure`` gives its metrics by name."""

    rows: int
    measure: Callable[[], Mapping[str, float]]


class Monitor(NamedTuple):
    """The metric by which the best epoch is chosen, and whether its largest value is best."""

    name: str
    maximize: bool


class Best(NamedTuple):
    """The best epoch, its monitored value, and the weights it had."""

    epoch: int
    value: float
    weights: dict[str, Tensor]


def fit_network(
    estimator: Any,
    network: nn.Module,
    options: Options,
    rows: int,
    loss: Callable[[Tensor], Tensor],
    watched: Sequence[Watched],
    monitor: Monitor | None,
) -> Best | None:
    """Train ``network`` in place; where an epoch was chosen, it has that epoch's weights in the end.

    Args:
        estimator: has the parameters of optimizer and schedule; callbacks get it, and its ``_history`` is filled.
        network: what is trained.
        options: how.
        rows: number of training rows.
        loss: of the rows with the given numbers [B], what is minimised [].
        watched: eval sets.
        monitor: None where there is no eval set: ``max_epochs`` then, and the last weights.

    Raises:
        UserError: the loss is no number any more, or the schedule needs an eval set.
    """
    with _trained(estimator, network) as parameters:
        return _fit(estimator, network, parameters, options, rows, loss, watched, monitor)


def _fit(
    estimator: Any,
    network: nn.Module,
    parameters: list[nn.Parameter],
    options: Options,
    rows: int,
    loss: Callable[[Tensor], Tensor],
    watched: Sequence[Watched],
    monitor: Monitor | None,
) -> Best | None:
    order = _order(rows, options)
    optimizer = _optimizer(estimator, parameters)
    as_one = parameters[0].grad is not None
    after_batch, after_epoch = _schedule(estimator, optimizer, monitor)
    history: History = estimator._history
    told, started, best = options.callbacks, time.perf_counter(), None
    estimator._optimizer, estimator._stop_training = optimizer, False
    for callback in told:
        callback.set_trainer(estimator)
        callback.on_train_begin({"start_time": time.time()})
    for epoch in range(options.max_epochs):
        for callback in told:
            callback.on_epoch_begin(epoch)
        network.train()
        total = torch.zeros(())
        for number, index in enumerate(_batches(order, rows, options)):
            for callback in told:
                callback.on_batch_begin(number)
            optimizer.zero_grad(set_to_none=not as_one)
            value = loss(index)
            value.backward()  # type: ignore[no-untyped-call]
            if estimator.clip_value:
                nn.utils.clip_grad_norm_(parameters, estimator.clip_value)
            optimizer.step()
            total = total + value.detach().cpu() * len(index)
            after_batch()
            for callback in told:
                callback.on_batch_end(number, {"batch_size": len(index), "loss": value.item()})
        logs = {"loss": float(total) / _learnt(rows, options), "lr": optimizer.param_groups[-1]["lr"]}
        if not math.isfinite(logs["loss"]):
            raise UserError(
                f"{DIVERGED} in epoch {epoch}: the loss is {logs['loss']}; lower the rate (optimizer_params=dict("
                "lr=...)), scale the columns, or set clip_value=1"
            )
        for one in watched:
            iter(DataLoader(range(one.rows)))  # type: ignore[arg-type]  # draws what pytorch-tabnet's loader draws
            logs |= one.measure()
        for name, entry in logs.items():
            history.setdefault(name, []).append(entry)
        if monitor is not None and options.patience and not math.isnan(found := logs[monitor.name]):
            if best is None or (found > best.value if monitor.maximize else found < best.value):
                best = Best(epoch, found, {name: part.clone() for name, part in network.state_dict().items()})
            elif epoch - best.epoch >= options.patience:
                estimator._stop_training = True
        after_epoch(None if monitor is None else logs[monitor.name])
        for callback in told:
            callback.on_epoch_end(epoch, logs)
        if estimator.verbose and epoch % estimator.verbose == 0:
            _print(epoch, logs, time.perf_counter() - started)
        if estimator._stop_training:
            break
    if best is not None and monitor is not None:
        network.load_state_dict(best.weights)
        if estimator.verbose:
            print(f"best epoch {best.epoch} of {epoch + 1}: {monitor.name} = {best.value:.5f}; its weights are kept")
    for callback in told:
        callback.on_train_end({})
    del estimator._optimizer
    return best


def _order(rows: int, options: Options) -> DataLoader[int]:
    """What draws the numbers of rows as pytorch-tabnet draws them: PyTorch's own loader.

    Where ``drop_last`` would leave no batch at all, which pytorch-tabnet trains on without a word, all rows are one.

    Raises:
        UserError: a batch would have one row.
    """
    weights = options.weights
    if not _drops(rows, options) and rows % options.batch_size == 1:
        raise UserError(
            f"drop_last=False and batch_size={options.batch_size} leave one of {rows} rows alone, on which batch norm "
            "cannot train; use drop_last=True or another batch_size"
        )
    sampler = None if weights is None else WeightedRandomSampler(weights.tolist(), rows)
    return DataLoader(range(rows), shuffle=weights is None, sampler=sampler)  # type: ignore[arg-type]


def _batches(order: DataLoader[int], rows: int, options: Options) -> Sequence[Tensor]:
    """Numbers of the rows of an epoch's batches; the loader draws its own seed before its sampler draws them."""
    iter(order)
    return torch.tensor(list(order.sampler))[: _learnt(rows, options)].split(options.batch_size)


def _drops(rows: int, options: Options) -> bool:
    return options.drop_last and rows >= options.batch_size


def _learnt(rows: int, options: Options) -> int:
    return rows - rows % options.batch_size if _drops(rows, options) else rows


@contextmanager
def _trained(estimator: Any, network: nn.Module) -> Iterator[list[nn.Parameter]]:
    """What the optimizer gets: all parameters as one where it takes each number by itself."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not _fuses(estimator):
        yield parameters
        return
    try:
        yield [together(parameters)]
    finally:
        for parameter in parameters:
            parameter.data, parameter.grad = parameter.detach().clone(), None


def together(parameters: Sequence[nn.Parameter]) -> nn.Parameter:
    """One parameter of which all ``parameters``, and their gradients, become views.

    Steps that take each number by itself stay the same, and what PyTorch spends on each parameter is spent once.
    """
    sizes = [parameter.numel() for parameter in parameters]
    whole = nn.Parameter(torch.cat([parameter.detach().flatten() for parameter in parameters]))
    whole.grad = torch.zeros_like(whole)
    parts = zip(whole.detach().split(sizes), whole.grad.split(sizes), strict=True)
    for parameter, (part, slope) in zip(parameters, parts, strict=True):
        parameter.data, parameter.grad = part.view_as(parameter), slope.view_as(parameter)
    return whole


def _fuses(estimator: Any) -> bool:
    settings = estimator.optimizer_params or {}
    return (
        estimator.optimizer_fn in FUSED and not {"fused", "foreach", "capturable", "differentiable"} & settings.keys()
    )


def _optimizer(estimator: Any, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    settings = {"lr": 2e-2} if estimator.optimizer_params is None else dict(estimator.optimizer_params)
    if _fuses(estimator):
        settings["fused"] = True  # the same steps, in one pass over all parameters
    made: torch.optim.Optimizer = estimator.optimizer_fn(parameters, **settings)
    return made


def _schedule(
    estimator: Any, optimizer: torch.optim.Optimizer, monitor: Monitor | None
) -> tuple[Callable[[], None], Callable[[float | None], None]]:
    """What is done after a batch, and after an epoch with its monitored value."""

    def nothing(*_: Any) -> None:
        pass

    if estimator.scheduler_fn is None:
        return nothing, nothing
    settings = dict(estimator.scheduler_params or {})
    each_batch = settings.pop("is_batch_level", False)
    scheduler = estimator.scheduler_fn(optimizer, **settings)
    if each_batch:
        return scheduler.step, nothing
    if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        if monitor is None:
            raise UserError("scheduler_fn=ReduceLROnPlateau follows a metric; give fit an eval_set")
        return nothing, scheduler.step  # type: ignore[return-value]
    return nothing, lambda _: scheduler.step()


def _print(epoch: int, logs: Mapping[str, float], seconds: float) -> None:
    metrics = "".join(f"| {name}: {round(value, 5):<8}" for name, value in logs.items() if name != "lr")
    print(f"epoch {epoch:<3}{metrics}|  {datetime.timedelta(seconds=int(seconds))}s")
