"""How the ends of fits and runs are compared, of which one was killed and resumed."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import torch

KILLED = str(Path(__file__).with_name("killed.py"))


def differences(one: Any, two: Any, where: str = "") -> list[str]:
    """Where two states of plain data and tensors differ, be it in one bit."""
    if isinstance(one, dict):
        found = [f"{where}/{key}" for key in one.keys() ^ two.keys()]
        return found + [d for key in one.keys() & two.keys() for d in differences(one[key], two[key], f"{where}/{key}")]
    if isinstance(one, (list, tuple)):
        assert len(one) == len(two), where
        return [d for i, pair in enumerate(zip(one, two, strict=True)) for d in differences(*pair, f"{where}/{i}")]
    same = torch.equal(one, two) if isinstance(one, torch.Tensor) else one == two
    return [] if same else [where]


def compared(state: dict[str, Any]) -> dict[str, Any]:
    """What must be equal: all but names of files, and counters that Lightning keeps for its own restarts."""
    kept = {key: value for key, value in state.items() if key not in ("loops", "callbacks")}
    names = ("dirpath", "best_k_models", "best_model_path", "kth_best_model_path", "last_model_path")
    kept["callbacks"] = {
        callback: {key: value for key, value in its.items() if key not in names}
        for callback, its in state["callbacks"].items()
    }
    return kept


def assert_same(one: Path, two: Path) -> None:
    for folder in (Path(), Path("selection")):
        states = (torch.load(run / folder / "checkpoints" / "best.ckpt", weights_only=True) for run in (one, two))
        assert differences(*map(compared, states)) == []
        fits = (json.loads((run / folder / "fit.json").read_text()) for run in (one, two))
        assert differences(*({**fit, "seconds": 0} for fit in fits)) == []
    for part in ("val", "test"):
        first, second = (pl.read_parquet(run / "predictions" / f"{part}.parquet") for run in (one, two))
        assert first.equals(second)
    metrics = [json.loads((run / "metrics.json").read_text()) for run in (one, two)]
    assert metrics[0]["val"] == metrics[1]["val"]
    assert metrics[0]["test"] == metrics[1]["test"]
    assert (one / "csv" / "metrics.csv").read_text() == (two / "csv" / "metrics.csv").read_text()
