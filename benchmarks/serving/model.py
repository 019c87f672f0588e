"""The model without a server: one call, and one record through a bundle."""

import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.serving.material import Material


def measure(material: Material, calls: int) -> list[dict[str, Any]]:
    """The model call alone, with the same weights on either side; then a whole record through a bundle."""
    import torch

    from benchmarks.tabnet_predict import same_network
    from benchmarks.tabnet_shapes import SHAPES, one_table
    from fraudlab import bundle
    from fraudlab.exporter.onnx_model import write_onnx
    from fraudlab.features.encoder import Arrays

    torch.set_num_threads(1)
    shape = SHAPES["ieee"].tiny()
    rows = shape.rows(1024)
    table = one_table(rows).numpy()
    classifier = shape.classifier("cpu")
    classifier.fit(table, rows.label.numpy(), max_epochs=1, **shape.fit_settings())
    served = bundle.load(material.bundle)
    arrays = Arrays(rows.categorical[:1].numpy(), rows.numeric[:1].numpy())
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_onnx(same_network(classifier), shape.categorical, shape.numeric, path)
        run = _session(path)
    apart = abs(float(run(arrays)[0]) - float(classifier.predict_proba(table[:1])[0, 1]))
    if apart > 1e-4:
        sys.exit(f"error: the two sides differ by {apart:.2g} in a probability; there is nothing to compare")
    ours, theirs = [], []
    for _ in range(5):  # by turns, so that both meet the same machine
        ours += [_milliseconds(lambda: run(arrays)) for _ in range(calls // 5)]
        theirs += [_milliseconds(lambda: classifier.predict_proba(table[:1])) for _ in range(calls // 5)]
    whole = [
        _milliseconds(lambda record=record: served.predict([record]))
        for record in (material.records * math.ceil(calls / len(material.records)))[:calls]
    ]
    mine, other, record = statistics.median(ours), statistics.median(theirs), statistics.median(whole)
    return [
        {
            "what": "model alone, one row",
            "saw": f"{mine:.3f} ms at {shape.features} features, {other / mine:.0f} x",
            "met": mine <= 0.2 and other / mine >= 20,
            "milliseconds": {"ours": mine, "theirs": other},
            "ratio": other / mine,
            "apart": apart,
        },
        {
            "what": "encode and model, one record",
            "saw": f"{record:.3f} ms, {len(material.records[0])} fields, {_inputs(served)} inputs",
            "met": record <= 1,
            "milliseconds": {"p50": record, "p99": float(np.percentile(whole, 99))},
        },
    ]


def _session(path: Path) -> Callable[[Any], Any]:
    """A model as a bundle runs it."""
    from fraudlab.bundle.ort import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    return lambda arrays: session.run(["score"], {"categorical": arrays.categorical, "numeric": arrays.numeric})[0]


def _inputs(bundle: Any) -> int:
    return len(bundle.encoder.categorical) + bundle.encoder.num_numeric


def _milliseconds(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1000
