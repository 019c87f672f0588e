"""A trained network as an ONNX model that gives the probability of fraud and, of TabNet, what it rests on."""

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from fraudlab.bundle.onnx_masks import Attention
from fraudlab.models.ensemble import Ensemble
from fraudlab.models.tabnet import TabNet
from fraudlab.models.tabnet.folding import FoldedTabNet, fold
from fraudlab.models.tabnet.grouping import Grouping
from fraudlab.models.tabnet.interop import from_reference
from fraudlab.models.tabnet.reference import ReferenceTabNet


def write_onnx(network: nn.Module, num_categorical: int, num_numeric: int, path: Path) -> None:
    """Write ``network`` as ONNX with any number of rows.

    Inputs ``categorical`` int64 [n, C] and ``numeric`` float32 [n, N], one of width 0 left out; outputs ``score``
    float32 [n] and, of a TabNet, ``importance`` float32 [n, C + N]: its masks summed over the steps,
    weighted as :meth:`fraudlab.models.tabnet.TabNet.explain` has it, and averaged over an ensemble's members.

    Args:
        network: keeps the contract of :mod:`fraudlab.models.contract`; is left as it is.
        num_categorical: C.
        num_numeric: N; not both are 0.
        path: the file to write.
    """
    scoring = _Scoring(network).eval()
    widths = {"categorical": num_categorical, "numeric": num_numeric}
    dtypes = {"categorical": torch.int64, "numeric": torch.float32}
    inputs = {name: torch.zeros(2, width, dtype=dtypes[name]) for name, width in widths.items() if width}
    rows = torch.export.Dim("rows")
    with _quiet():
        program = torch.onnx.export(
            scoring,
            kwargs=inputs,
            dynamo=True,
            dynamic_shapes={name: {0: rows} for name in inputs},
            output_names=["score", "importance"] if scoring.has_masks else ["score"],
            verbose=False,
        )
    assert program is not None
    onnx.save(program.model_proto, path)


def quantize_int8(path: Path) -> None:
    """Turn the weights of a model's matrix products to int8; their inputs are quantised row by row in use."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(path, path, weight_type=QuantType.QInt8)


def store_fp16(path: Path) -> None:
    """Keep a model's float32 weights in half precision; it computes in float32, as CPUs do that faster."""
    model = onnx.load(path)
    casts = []
    for i, weight in enumerate(model.graph.initializer):
        if weight.data_type == TensorProto.FLOAT and len(weight.dims) >= 2:
            half = numpy_helper.to_array(weight).astype("float16")
            casts.append(helper.make_node("Cast", [f"{weight.name}_fp16"], [weight.name], to=TensorProto.FLOAT))
            model.graph.initializer[i].CopyFrom(numpy_helper.from_array(half, f"{weight.name}_fp16"))
    for cast in reversed(casts):
        model.graph.node.insert(0, cast)
    onnx.save(model, path)


class _Scoring(nn.Module):
    """What is exported: the network in evaluation with its batch norms folded, from arrays to score and importance."""

    to_inputs: Tensor | None

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        members = network.members if isinstance(network, Ensemble) else [network]
        self.members = nn.ModuleList(_folded(member) for member in members).float()
        first = self.members[0]
        self.has_masks = isinstance(first, FoldedTabNet)
        spread = _to_inputs(first.encoder.grouping) if isinstance(first, FoldedTabNet) else None
        self.register_buffer("to_inputs", spread)

    def forward(
        self, categorical: Tensor | None = None, numeric: Tensor | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        given = numeric if numeric is not None else categorical
        assert given is not None
        if categorical is None:
            categorical = given[:, :0].long()
        if numeric is None:
            numeric = given[:, :0].float()
        if not self.has_masks:
            logits = torch.stack([member(categorical, numeric).logits for member in self.members], dim=1)
            return _probability(logits)
        explained = [_explained(member, categorical, numeric) for member in self.members]  # type: ignore[arg-type]
        logits = torch.stack([logits for logits, _ in explained], dim=1)
        importance = torch.stack([importance for _, importance in explained]).mean(dim=0)
        return _probability(logits), importance if self.to_inputs is None else importance @ self.to_inputs


def _probability(logits: Tensor) -> Tensor:
    """As :func:`fraudlab.learner.fraud_probability` has it, [B] of [B, M, 2], but with the rows' number left open."""
    return torch.softmax(logits, dim=-1)[..., 1].mean(dim=1)


def _folded(member: nn.Module) -> nn.Module:
    if isinstance(member, ReferenceTabNet):
        member = from_reference(member.reference, member.sparsity)
    if not isinstance(member, TabNet):
        return copy.deepcopy(member)
    folded = fold(member)
    attend = folded.encoder.attentive_transformers
    folded.encoder.attentive_transformers = nn.ModuleList(Attention(each) for each in attend)  # type: ignore[arg-type]
    return folded


def _explained(network: FoldedTabNet, categorical: Tensor, numeric: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [B, K] and importance [B, G] over the groups of columns."""
    decisions, masks = network.encoder.steps(network.columns(categorical, numeric))
    return network.head(decisions.sum(dim=0)), (masks * decisions.sum(dim=-1, keepdim=True)).sum(dim=0)


def _to_inputs(grouping: Grouping) -> Tensor | None:
    """What spreads masks over groups to the input columns, [G, F]; None where each column is its own group."""
    matrix = grouping.to_inputs(torch.eye(grouping.num_groups))
    return None if torch.equal(matrix, torch.eye(grouping.num_inputs)) else matrix


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of packages and deprecations that are its own affair."""
    logs = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)
