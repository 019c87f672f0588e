"""Trees as an ONNX model: one ``TreeEnsembleRegressor`` over the numbers and, of ids, the bits of the splits' sets.

``ai.onnx.ml`` 5 has sets, too, but ONNX Runtime unrolls each into a chain of one comparison an id. Here a row looks up
the bytes of its ids once, and all splits are of one kind, for which the operator has a fast path.
"""

from pathlib import Path

import numpy as np
from onnx import TensorProto

from fraudlab.models.boosting.crossings import NO_PART
from fraudlab.models.boosting.trees import LEAF, Trees
from fraudlab.models.scoring_graph import ScoringGraph, tensor


def write(trees: Trees, path: Path) -> None:
    """Write ``trees``, which compute in double precision."""
    num_categorical, num_numeric = trees.widths.tolist()
    graph = ScoringGraph(num_categorical, num_numeric)
    parts = []
    if num_numeric:
        parts.append(graph.add("Cast", "numeric", to=TensorProto.DOUBLE))
    if len(trees.byte_column):
        parts.append(_bits(trees, graph))
    if not parts:  # no split at all
        parts.append(graph.add("Cast", "categorical", to=TensorProto.DOUBLE))
    rows = parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)
    graph.save(_ensemble(trees, rows, num_categorical, num_numeric, graph), path)


def _bits(trees: Trees, graph: ScoringGraph) -> str:
    """The bits [n, 8 bytes] that the sets of a row's ids have, as numbers."""
    ids = "categorical"
    if len(trees.crossings):
        ids = graph.add("Concat", ids, _crossed(trees, graph), axis=1)
    ids = graph.add("Gather", ids, graph.constant(trees.byte_ids()), axis=1)
    place = graph.add("Add", ids, graph.constant(trees.byte_start))
    answers = graph.add("Gather", graph.constant(trees.table), place)
    each = graph.add("Unsqueeze", answers, graph.constant(np.array([2])))
    masked = graph.add("BitwiseAnd", each, graph.constant(np.left_shift(1, np.arange(8)).astype(np.uint8)))
    flat = graph.add("Reshape", masked, graph.constant(np.array([-1, 8 * len(trees.byte_column)])))
    return graph.add("Cast", flat, to=TensorProto.DOUBLE)  # 0, or more than the 0.5 that splits compare with


def _crossed(trees: Trees, graph: ScoringGraph) -> str:
    """The crossings' ids [n, V]."""
    found = trees.crossings
    width = int(trees.widths[0])
    of_numbers = found.column >= width
    first = graph.add("Gather", "categorical", graph.constant(np.array([0])), axis=1)
    given = ["categorical", graph.add("Sub", first, first)]  # 0 where there is no part
    if of_numbers.any():
        numbers = graph.constant(found.column[of_numbers].astype(np.int64) - width)
        above = graph.add(
            "Greater", graph.add("Gather", "numeric", numbers, axis=1), graph.constant(found.threshold[of_numbers])
        )
        given.append(graph.add("Cast", above, to=TensorProto.INT64))
    column = np.where(found.column == NO_PART, width, found.column).astype(np.int64)
    column[of_numbers] = width + 1 + np.arange(of_numbers.sum())
    at = graph.add("Gather", graph.add("Concat", *given, axis=1), graph.constant(column), axis=1)
    words = graph.add("Gather", graph.constant(found.word), graph.add("Add", at, graph.constant(found.start)))
    ones = graph.constant(np.ones(found.column.shape[1], np.int64))
    key = graph.add("Add", graph.add("MatMul", words, ones), graph.constant(found.apart))  # ReduceSum rounds int64
    return graph.add(
        "LabelEncoder",
        key,
        domain="ai.onnx.ml",
        keys_int64s=found.key.tolist() or [0],
        values_int64s=found.id.tolist() or [0],
        default_int64=0,
    )


def _ensemble(trees: Trees, rows: str, num_categorical: int, num_numeric: int, graph: ScoringGraph) -> str:
    sizes = np.diff([*trees.root, len(trees.column)])
    tree = np.repeat(np.arange(len(trees.root)), sizes)
    node = np.arange(len(trees.column)) - np.repeat(trees.root, sizes)
    start = np.repeat(trees.root, sizes)
    leaf = trees.column == LEAF
    of_ids = trees.bit >= 0
    column = np.where(of_ids, num_numeric + trees.bit, trees.column - num_categorical)
    threshold = np.where(of_ids, 0.5, trees.threshold.astype(np.float64))
    return graph.add(
        "TreeEnsembleRegressor",
        rows,
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function="SUM",
        post_transform="NONE",
        base_values_as_tensor=tensor(trees.base),
        nodes_treeids=tree.tolist(),
        nodes_nodeids=node.tolist(),
        nodes_featureids=np.where(leaf, 0, column).tolist(),
        nodes_modes=np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        nodes_values_as_tensor=tensor(np.where(leaf, 0.0, threshold)),
        nodes_truenodeids=np.where(leaf, 0, trees.left - start).tolist(),
        nodes_falsenodeids=np.where(leaf, 0, trees.right - start).tolist(),
        target_treeids=tree[leaf].tolist(),
        target_nodeids=node[leaf].tolist(),
        target_ids=np.zeros(leaf.sum(), np.int64).tolist(),
        target_weights_as_tensor=tensor(trees.value[leaf]),
    )
