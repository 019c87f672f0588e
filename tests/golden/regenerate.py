"""Make the golden values again: ``python tests/golden/regenerate.py``, and look at the difference before committing.

They guard against silent change; correctness is tested against independent references elsewhere. Everything runs in
float64 on one thread, on data of ``data=handbook`` with 60 customers, so that no value sits on a rounding edge.
"""

import json
from pathlib import Path
from typing import Any

import torch

from fraudlab.config import HandbookConfig
from fraudlab.data.batches import Batch, Batches
from fraudlab.data.sources.registry import load_source
from fraudlab.features import handbook
from fraudlab.features.contract import with_features
from fraudlab.features.encoder import TableEncoder
from fraudlab.features.history import HistoryFeatures
from fraudlab.models.registry import make_network
from fraudlab.training.losses.weighted import CrossEntropy
from fraudlab.training.scoring import fraud_probability

FOLDER = Path(__file__).parent
STEPS = 20


def golden(cache_dir: Path) -> dict[str, Any]:
    """Features of ten rows, a 20-step loss curve of each network and its predictions afterwards."""
    source = load_source(HandbookConfig(customers=60, terminals=300, days=60, radius=15.0), cache_dir)
    features = HistoryFeatures({**handbook.settings(extended=True), "delay_days": 7}, source.schema)
    frame = with_features(features, source.frame)
    encoder = TableEncoder.fit(frame, features.categorical, features.numeric, log1p=True)
    arrays = encoder.transform(frame)
    rows = Batch.of(arrays.categorical, arrays.numeric, frame[source.schema.label].to_numpy())
    rows = rows._replace(numeric=rows.numeric.double(), weight=rows.weight.double())
    chosen = list(range(0, len(frame), len(frame) // 10))[:10]
    found: dict[str, Any] = {"features": frame[chosen].select(features.numeric).to_dicts()}
    torch.set_num_threads(1)
    for model in ("tabnet", "mlp"):
        torch.manual_seed(0)
        settings: dict[str, Any] = {"name": model} | (
            {"virtual_batch_size": 64} if model == "tabnet" else {"dropout": 0.0}
        )
        network = make_network({"model": settings, "cardinalities": [], "num_numeric": encoder.num_numeric}).double()
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
        loss_of, losses = CrossEntropy(), []
        for batch, _ in zip(Batches(rows, 256, shuffle=True), range(STEPS), strict=False):
            output = network(batch.categorical, batch.numeric)
            loss = loss_of(output.logits.double(), batch.label, batch.weight) + output.penalty
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        network.eval()
        with torch.inference_mode():
            scores = fraud_probability(network(rows.categorical[chosen], rows.numeric[chosen]).logits).tolist()
        found[model] = {"losses": losses, "scores": scores}
    return found


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as cache:
        (FOLDER / "golden.json").write_text(json.dumps(golden(Path(cache)), indent=1) + "\n", encoding="utf-8")
