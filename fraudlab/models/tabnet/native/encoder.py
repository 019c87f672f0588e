"""The compiled encoder as an operation that PyTorch differentiates."""

import ctypes
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from fraudlab.models.tabnet.blocks import AttentiveTransformer, FeatureTransformer
from fraudlab.models.tabnet.ghost_batch_norm import ghost_batch_rows
from fraudlab.models.tabnet.grouping import Grouping
from fraudlab.models.tabnet.native.compile import REALS, operations

FIRST_CAPACITY = 32  # groups that a row's mask may keep before the call is made again with more


class EncoderLayout(Protocol):
    """What this module reads of :class:`fraudlab.models.tabnet.encoder.Encoder`."""

    n_d: int
    n_a: int
    n_steps: int
    n_shared: int
    n_independent: int
    gamma: float
    epsilon: float
    momentum: float
    virtual_batch_size: int
    mask_type: str
    training: bool
    grouping: Grouping
    shared: nn.ModuleList
    feature_transformers: nn.ModuleList
    attentive_transformers: nn.ModuleList


def encode(encoder: EncoderLayout, x: Tensor, prior: Tensor | None) -> tuple[Tensor, Tensor]:
    """What ``encoder(x, prior)`` gives: decisions [S, B, n_d] and the masks' mean entropy []."""
    if prior is not None and prior.shape != (len(x), encoder.grouping.num_groups):
        raise ValueError(f"prior must be [{len(x)}, {encoder.grouping.num_groups}], not {list(prior.shape)}")
    layout = ParameterLayout.of(encoder)
    decisions, entropy = _Encode.apply(encoder, layout, x.contiguous(), prior, *layout.parameters)  # type: ignore[no-untyped-call]
    return decisions, entropy


class ParameterLayout:
    """Where the encoder's parameters lie in one flat array: linear layers transposed, each norm's weight and bias."""

    def __init__(self, encoder: EncoderLayout) -> None:
        self.parameters: list[Tensor] = []
        self.running: list[Tensor] = []
        self.homes: list[tuple[dict[str, Any], str, Tensor]] = []
        offset = 0
        offsets: dict[Tensor, int] = {}

        def place(module: nn.Module, name: str) -> int:
            nonlocal offset
            parameter: Tensor = getattr(module, name)
            self.homes.append((module._parameters, name, parameter))
            if parameter not in offsets:
                offsets[parameter] = offset
                offset += parameter.numel()
                self.parameters.append(parameter)
            return offsets[parameter]

        def place_norm(norm: Any) -> int:
            self.running += [norm.running_mean, norm.running_var]
            self.homes += [(norm._buffers, name, norm._buffers[name]) for name in ("running_mean", "running_var")]
            at = place(norm, "weight")
            place(norm, "bias")
            return at

        linear, norm, attend, attend_norm = [], [], [], []
        for transformer in encoder.feature_transformers:
            assert isinstance(transformer, FeatureTransformer)
            linear += [place(layer, "weight") for layer in [*encoder.shared, *transformer.linears]]
            norm += [place_norm(each) for each in transformer.norms]
        for attentive in encoder.attentive_transformers:
            assert isinstance(attentive, AttentiveTransformer)
            attend.append(place(attentive.linear, "weight"))
            attend_norm.append(place_norm(attentive.norm))
        self.size = offset
        sizes = [(len(p), p.shape[1] if p.ndim == 2 else 0) for p in self.parameters]
        self.outputs, self.inputs = torch.tensor(sizes, dtype=torch.int64).t().contiguous()
        self.tables = [torch.tensor(table, dtype=torch.int64) for table in (linear, norm, attend, attend_norm)]
        grouping = encoder.grouping
        order = torch.argsort(grouping.group, stable=True)
        counts = torch.bincount(grouping.group, minlength=grouping.num_groups)
        self.group_start = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        self.group_column = order.to(torch.int32)
        self.group_share = grouping.share[order].to(self.parameters[0].dtype).contiguous()
        self.capacity = FIRST_CAPACITY
        self.workspace: Workspace | None = None

    @staticmethod
    def of(encoder: EncoderLayout) -> "ParameterLayout":
        """The encoder's layout: made once, and again when other tensors have come into its modules."""
        layout: ParameterLayout | None = encoder.__dict__.get("_native_layout")
        if layout is None or any(home.get(name) is not tensor for home, name, tensor in layout.homes):
            layout = encoder.__dict__["_native_layout"] = ParameterLayout(encoder)
        return layout

    def flat(self, parameters: Sequence[Tensor]) -> Tensor:
        """The parameters in one array as the C code reads it."""
        whole = [parameter.contiguous() for parameter in parameters]
        flat = whole[0].new_empty(self.size)
        pointers = (ctypes.c_void_p * len(whole))(*[each.data_ptr() for each in whole])
        _lib(flat).tabnet_pack(*self._sizes(), pointers, ctypes.c_void_p(flat.data_ptr()))
        return flat

    def split(self, copies: Tensor) -> list[Tensor]:
        """The gradient of each parameter, of flat ones [copies, size] that add up to it."""
        whole = copies.new_empty(self.size)
        pointers = (ctypes.c_void_p(each.data_ptr()) for each in (copies, whole))
        _lib(whole).tabnet_unpack(*self._sizes(), *map(ctypes.c_int64, copies.shape), *pointers)
        parts = whole.split([parameter.numel() for parameter in self.parameters])
        return [part.view(p.shape) if p.ndim > 1 else part for part, p in zip(parts, self.parameters, strict=True)]

    def _sizes(self) -> tuple[Any, ...]:
        pointers = (ctypes.c_void_p(each.data_ptr()) for each in (self.outputs, self.inputs))
        return ctypes.c_int64(len(self.parameters)), *pointers


class _Shape(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in (
            "rows", "columns", "groups", "n_d", "n_a", "steps", "layers", "ghost_rows", "capacity", "threads", "entmax",
            "training")),
        *((name, ctypes.c_double) for name in ("gamma", "epsilon", "momentum")),
    ]  # fmt: skip


class _Tape(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in (
        "x", "first", "prior", "parameters", "linear", "norm", "attend", "attend_norm", "running", "group_start",
        "group_column", "group_share", "decisions", "entropy", "normed", "gate", "inverse", "attention",
        "attend_inverse", "covariance", "support", "support_size", "mask", "support_prior")]  # fmt: skip


class _Gradient(ctypes.Structure):
    _fields_ = [
        ("decisions", ctypes.c_void_p),
        ("entropy", ctypes.c_double),
        ("x", ctypes.c_void_p),
        ("first", ctypes.c_void_p),
        ("parameters", ctypes.c_void_p),
        ("num_parameters", ctypes.c_int64),
    ]


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, encoder: EncoderLayout, layout: ParameterLayout, x: Tensor, prior: Tensor | None, *parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        shape = _shape(encoder, len(x))
        flat = layout.flat(parameters)
        first_linear = parameters[0]
        decisions, entropy = x.new_empty(shape.steps, len(x), shape.n_d), torch.zeros(1, dtype=torch.float64)
        tensors: dict[str, Tensor | None] = {
            "x": x,
            "first": x @ first_linear.t(),
            "prior": None if prior is None else prior.to(x.dtype).contiguous(),
            "parameters": flat,
            **dict(zip(("linear", "norm", "attend", "attend_norm"), layout.tables, strict=True)),
            "group_start": layout.group_start,
            "group_column": layout.group_column,
            "group_share": layout.group_share,
            "decisions": decisions,
            "entropy": entropy,
        }
        running = (ctypes.c_void_p * len(layout.running))(*(each.data_ptr() for each in layout.running))
        while True:
            shape.capacity = layout.capacity
            workspace = _workspace(layout, shape, x.dtype) if shape.training else None
            tape = _tape({**tensors, **(workspace.parts if workspace else {})}, running)
            most = _lib(x).tabnet_forward(ctypes.byref(shape), ctypes.byref(tape))
            if most < 0:
                raise MemoryError("not enough memory for the workspace of the TabNet encoder")
            if most <= layout.capacity or not shape.training:
                break
            layout.capacity = 1 << (most - 1).bit_length()
            layout.workspace = workspace
        ctx.layout, ctx.shape, ctx.workspace, ctx.tensors = layout, shape, workspace, tensors
        ctx.running, ctx.tape = running, tape
        return decisions, (entropy[0] / (-shape.steps * len(x))).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, ddecisions: Tensor, dentropy: Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        layout, shape, tensors = ctx.layout, ctx.shape, ctx.tensors
        if tensors is None:
            raise RuntimeError("TabNet's encoder keeps its numbers for one backward pass; call it again for another")
        x, flat = tensors["x"], tensors["parameters"]
        need_x = ctx.needs_input_grad[2]
        dx = torch.zeros_like(x) if need_x else None
        dfirst = torch.empty_like(tensors["first"])
        per_thread = x.new_zeros(shape.threads, layout.size)
        ddecisions = ddecisions.contiguous()
        gradient = _Gradient(
            ddecisions.data_ptr(),
            float(dentropy) / (-shape.steps * len(x)),
            dx.data_ptr() if dx is not None else None,
            dfirst.data_ptr(),
            per_thread.data_ptr(),
            layout.size,
        )
        if _lib(x).tabnet_backward(ctypes.byref(shape), ctypes.byref(ctx.tape), ctypes.byref(gradient)) < 0:
            raise MemoryError("not enough memory for the workspace of the TabNet encoder")
        layout.workspace, ctx.workspace, ctx.tensors = ctx.workspace, None, None
        width, columns = dfirst.shape[1], x.shape[1]
        dparameters = layout.split(per_thread)
        dparameters[0].addmm_(dfirst.t(), x)
        if dx is not None:
            dx.addmm_(dfirst, flat[: columns * width].view(columns, width).t())
        return None, None, dx, None, *dparameters


def _shape(encoder: EncoderLayout, rows: int) -> _Shape:
    training = encoder.training
    return _Shape(
        rows=rows,
        columns=encoder.grouping.num_columns,
        groups=encoder.grouping.num_groups,
        n_d=encoder.n_d,
        n_a=encoder.n_a,
        steps=encoder.n_steps,
        layers=encoder.n_shared + encoder.n_independent,
        ghost_rows=ghost_batch_rows(rows, encoder.virtual_batch_size) if training else 0,
        threads=torch.get_num_threads(),
        entmax=encoder.mask_type == "entmax",
        training=training,
        gamma=encoder.gamma,
        epsilon=encoder.epsilon,
        momentum=encoder.momentum,
    )


def _lib(tensor: Tensor) -> ctypes.CDLL:
    lib = operations(REALS[tensor.dtype])
    assert lib is not None
    return lib


class Workspace(NamedTuple):
    """Room for what the backward pass needs, whole and in parts; see Tape in encoder.c."""

    sizes: tuple[Any, ...]
    room: Tensor
    parts: dict[str, Tensor]


def _workspace(layout: ParameterLayout, shape: _Shape, real: torch.dtype) -> Workspace:
    """That of an earlier step if it is free: new pages cost as much as the step."""
    held, layout.workspace = layout.workspace, None
    rows, steps, layers, most = shape.rows, shape.steps, shape.layers, shape.capacity
    half, chunks = shape.n_d + shape.n_a, -(-rows // shape.ghost_rows)
    sizes = (rows, most, chunks, real)
    if held is not None and held.sizes == sizes:
        return held
    parts: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {
        "normed": (real, (steps + 1, layers, rows, 2 * half)),
        "gate": (real, (steps + 1, layers, rows, half)),
        "inverse": (real, (steps + 1, layers, chunks, 2 * half)),
        "attention": (real, (steps, rows, shape.n_a)),
        "attend_inverse": (real, (steps, chunks, shape.groups)),
        "covariance": (torch.float64, (steps, chunks, shape.n_a, shape.n_a)),
        "support": (torch.int32, (steps, rows, most)),
        "support_size": (torch.int32, (steps, rows)),
        "mask": (real, (steps, rows, most)),
        "support_prior": (real, (steps, rows, most)),
    }
    bytes_of = {name: math.prod(size) * dtype.itemsize for name, (dtype, size) in parts.items()}
    whole = sum(bytes_of.values()) + 64 * len(parts)
    room = torch.empty(whole, dtype=torch.uint8) if held is None or len(held.room) < whole else held.room
    views, start = {}, 0
    for name, (dtype, size) in parts.items():
        views[name] = room[start : start + bytes_of[name]].view(dtype).view(size)
        start += -(-bytes_of[name] // 64) * 64
    return Workspace(sizes, room, views)


def _tape(tensors: dict[str, Tensor | None], running: Any) -> _Tape:
    pointers = {name: tensor.data_ptr() for name, tensor in tensors.items() if tensor is not None}
    return _Tape(**pointers, running=ctypes.cast(running, ctypes.c_void_p))
