"""A trained network as an ONNX model that gives the probability of fraud and, where it can, what that rests on."""

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from torch import Tensor, nn

from fraudlab.models.ensemble import Ensemble


def write_onnx(
    network: nn.Module, num_categorical: int, num_numeric: int, path: Path, *, dtype: torch.dtype = torch.float64
) -> bool:
    """Write ``network`` as ONNX with any number of rows.

    Inputs ``categorical`` int64 [n, C] and ``numeric`` float32 [n, N], one of width 0 left out; outputs ``score``
    float32 [n], of which it is the mean, ``members`` float32 [n, M] where there are several, and, of a network whose
    exported form gives it, ``importance`` float32 [n, C + N] as its ``explain`` has it, averaged over an ensemble's
    members. Returns whether it does.

    Args:
        network: keeps the contract of :mod:`fraudlab.models.contract`; is left as it is.
        num_categorical: C.
        num_numeric: N; not both are 0.
        path: the file to write.
        dtype: what the model computes in. In single precision a score depends on the order of its sums, by up to some
            1e-4 where an input is a hundred deviations out; in double, by less than its last digit.
    """
    scoring = _Scoring(network, dtype).eval()
    widths = {"categorical": num_categorical, "numeric": num_numeric}
    dtypes = {"categorical": torch.int64, "numeric": torch.float32}
    inputs = {name: torch.zeros(2, width, dtype=dtypes[name]) for name, width in widths.items() if width}
    rows = torch.export.Dim("rows")
    with torch.no_grad():
        several = scoring.probabilities(**inputs)[0].shape[1] > 1
    scoring.gives_members = several
    names = ["score", *(["members"] if several else []), *(["importance"] if scoring.gives_importance else [])]
    with _quiet():
        program = torch.onnx.export(
            scoring,
            kwargs=inputs,
            dynamo=True,
            dynamic_shapes={name: {0: rows} for name in inputs},
            output_names=names,
            verbose=False,
        )
    assert program is not None
    ClearMetadataAndDocStringPass()(program.model)  # it would tell the paths of this machine's files
    onnx.save(program.model_proto, path)
    return scoring.gives_importance


def quantize_int8(path: Path) -> None:
    """Turn the weights of a model's matrix products to int8; their inputs are quantised row by row in use."""
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: TID251

    import fraudlab.bundle.ort  # noqa: F401 - first: it switches the telemetry off

    quantize_dynamic(path, path, weight_type=QuantType.QInt8)


def store_fp16(path: Path) -> None:
    """Keep a model's float32 weights in half precision; it computes in float32, as CPUs do that faster.

    Weights are those of matrix products and embeddings. What else has two dimensions, such as the pieces' borders of a
    numeric embedding, is as far out as the table's numbers and stays as it is.
    """
    model = onnx.load(path)
    places = {"MatMul": 1, "Gemm": 1, "Gather": 0}  # of an operator's inputs
    weights = {node.input[places[node.op_type]] for node in model.graph.node if node.op_type in places}
    casts = []
    for i, weight in enumerate(model.graph.initializer):
        if weight.name in weights and weight.data_type == TensorProto.FLOAT and len(weight.dims) >= 2:
            half = numpy_helper.to_array(weight).astype("float16")
            casts.append(helper.make_node("Cast", [f"{weight.name}_fp16"], [weight.name], to=TensorProto.FLOAT))
            model.graph.initializer[i].CopyFrom(numpy_helper.from_array(half, f"{weight.name}_fp16"))
    for cast in reversed(casts):
        model.graph.node.insert(0, cast)
    onnx.save(model, path)


class _Scoring(nn.Module):
    """What is exported: the network in evaluation with its batch norms folded, from arrays to what the graph gives."""

    gives_members = False

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        members = network.members if isinstance(network, Ensemble) else [network]
        # Folded in double precision, whatever it then computes in.
        self.members = nn.ModuleList(_exported(copy.deepcopy(member).double()) for member in members).to(dtype)
        self.gives_importance = bool(getattr(self.members[0], "gives_importance", False))
        self.dtype = dtype

    def forward(self, categorical: Tensor | None = None, numeric: Tensor | None = None) -> tuple[Tensor, ...]:
        members, importance = self.probabilities(categorical, numeric)
        # As fraudlab.training.scoring.fraud_probability has it.
        given = [members.mean(dim=1), *([members] if self.gives_members else []), *importance]
        return tuple(each.float() for each in given)

    def probabilities(
        self, categorical: Tensor | None = None, numeric: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Each member's probability of fraud [B, M], and the importance [B, C + N] of a network that gives it."""
        given = numeric if numeric is not None else categorical
        assert given is not None
        if categorical is None:
            categorical = given[:, :0].long()
        numeric = given[:, :0].to(self.dtype) if numeric is None else numeric.to(self.dtype)
        if not self.gives_importance:
            return _of_members([member(categorical, numeric).logits for member in self.members]), []
        explained = [member(categorical, numeric) for member in self.members]
        importance = explained[0][1]
        for _, other in explained[1:]:
            importance = importance + other
        importance = importance if len(explained) == 1 else importance / len(explained)
        return _of_members([logits for logits, _ in explained]), [importance]


def _of_members(logits: list[Tensor]) -> Tensor:
    """Probability of fraud [B, M] of each network's logits [B, 2] or, of one with members of its own, [B, K, 2]."""
    each = torch.stack([torch.softmax(one, dim=-1)[..., 1] for one in logits], dim=1)
    return each.flatten(1)


def _exported(member: nn.Module) -> nn.Module:
    made: nn.Module = member.exported() if hasattr(member, "exported") else member  # type: ignore[operator]
    return made


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
