"""An ONNX graph of encoded rows to their score, written operator by operator."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

_OPSET, _OPSET_ML, _IR = 18, 3, 9  # what ONNX Runtime 1.20 knows


def tensor(array: NDArray[Any], name: str = "") -> onnx.TensorProto:
    """An array as an attribute or a constant."""
    return numpy_helper.from_array(np.ascontiguousarray(array), name)


class ScoringGraph:
    """Inputs ``categorical`` int64 [n, C] and ``numeric`` float32 [n, N], one of width 0 left out; output ``score``.

    Args:
        num_categorical: C.
        num_numeric: N; not both are 0.
    """

    def __init__(self, num_categorical: int, num_numeric: int) -> None:
        given = {"categorical": (TensorProto.INT64, num_categorical), "numeric": (TensorProto.FLOAT, num_numeric)}
        self._inputs = [
            helper.make_tensor_value_info(name, kind, ["rows", width]) for name, (kind, width) in given.items() if width
        ]
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def constant(self, array: NDArray[Any]) -> str:
        """The name of a constant."""
        name = f"constant_{len(self._constants)}"
        self._constants.append(tensor(array, name))
        return name

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """The name of what an operator gives."""
        name = f"{operator}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], domain=domain, **attributes))
        return name

    def save(self, log_odds: str, path: Path) -> None:
        """Write the model whose score is the probability of ``log_odds`` [n, 1], in its precision."""
        flat = self.add("Reshape", log_odds, self.constant(np.array([-1])))
        probability = self.add("Sigmoid", flat)
        self._nodes.append(helper.make_node("Cast", [probability], ["score"], to=TensorProto.FLOAT))
        score = helper.make_tensor_value_info("score", TensorProto.FLOAT, ["rows"])
        graph = helper.make_graph(self._nodes, "score", self._inputs, [score], self._constants)
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _OPSET_ML)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR)
        onnx.checker.check_model(model)
        onnx.save(model, path)
