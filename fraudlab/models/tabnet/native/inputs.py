"""The compiled input stage: embedding lookup and batch norm over all columns, in one differentiable operation."""

import ctypes
from typing import Any

import torch
from torch import Tensor, nn

from fraudlab.models.tabnet.blocks import Embedding
from fraudlab.models.tabnet.native.compile import REALS, operations


def normalised_columns(
    embedding: Embedding | None, norm: nn.BatchNorm1d, categorical: Tensor, numeric: Tensor
) -> Tensor:
    """What ``norm(cat([embedding(categorical), numeric]))`` gives: [B, D].

    Raises:
        IndexError: an id is outside its column's range.
        ValueError: in training, there is one row only.
    """
    if norm.training and len(numeric) == 1:
        raise ValueError("a batch of 1 row cannot be trained on: batch norm needs at least 2")
    table = numeric.new_empty(0, 0) if embedding is None else embedding.weight
    categorical, numeric = categorical.contiguous(), numeric.contiguous()
    x: Tensor = _Inputs.apply(embedding, norm, categorical, numeric, table, norm.weight, norm.bias)  # type: ignore[no-untyped-call]
    return x


class _Shape(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in (
            "rows", "categorical", "numeric", "columns", "table_rows", "table_width", "threads", "training")),
        ("momentum", ctypes.c_double),
    ]  # fmt: skip


class _Pointers(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in (
        "ids", "numeric", "table", "offset", "cardinality", "width", "weight", "bias", "running_mean", "running_var",
        "mean", "inverse", "out")]  # fmt: skip


class _Inputs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        embedding: Embedding | None,
        norm: nn.BatchNorm1d,
        categorical: Tensor,
        numeric: Tensor,
        table: Tensor,
        weight: Tensor,
        bias: Tensor,
    ) -> Tensor:
        rows, columns = len(numeric), len(weight)
        none = categorical.new_empty(0)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        out = numeric.new_empty(rows, columns)
        cardinality = none if embedding is None else embedding.cardinality
        tensors = {
            "ids": categorical,
            "numeric": numeric,
            "table": table,
            "offset": none if embedding is None else embedding.offset,
            "cardinality": cardinality,
            "width": none if embedding is None else embedding.width,
            "weight": weight,
            "bias": bias,
            "running_mean": norm.running_mean,
            "running_var": norm.running_var,
            "mean": torch.empty_like(bias),
            "inverse": torch.empty_like(bias),
        }
        shape = _Shape(
            rows, categorical.shape[1], numeric.shape[1], columns, *table.shape, torch.get_num_threads(), norm.training,
            norm.momentum,
        )  # fmt: skip
        lib = operations(REALS[numeric.dtype])
        assert lib is not None
        pointers = _pointers({**tensors, "out": out})
        wrong = lib.tabnet_inputs_forward(ctypes.byref(shape), ctypes.byref(pointers))
        if wrong < 0:
            raise MemoryError("no memory for the sums of TabNet's input norm")
        if wrong:
            row, column = divmod(wrong - 1, categorical.shape[1])
            raise IndexError(
                f"row {row} of the batch has id {int(categorical[row, column])} in categorical column {column}, "
                f"which has the ids 0 to {int(cardinality[column]) - 1}"
            )
        if norm.training and norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
        ctx.tensors, ctx.shape = tensors, shape
        return out

    @staticmethod
    def backward(ctx: Any, dx: Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        tensors, dx = ctx.tensors, dx.contiguous()
        dweight, dbias = torch.empty_like(tensors["weight"]), torch.empty_like(tensors["bias"])
        dtable = torch.zeros_like(tensors["table"])
        lib = operations(REALS[dx.dtype])
        assert lib is not None
        pointers = _pointers(tensors)
        arrays = (ctypes.c_void_p(each.data_ptr()) for each in (dx, dweight, dbias, dtable))
        if lib.tabnet_inputs_backward(ctypes.byref(ctx.shape), ctypes.byref(pointers), *arrays) < 0:
            raise MemoryError("no memory for the gradient of TabNet's input norm")
        return None, None, None, None, dtable, dweight, dbias


def _pointers(tensors: dict[str, Tensor]) -> _Pointers:
    return _Pointers(**{name: tensor.data_ptr() for name, tensor in tensors.items()})
