"""What one writes in an afternoon to serve a ``TabNetClassifier``: FastAPI, a pandas frame, ``predict_proba``.

Nothing in it is slow on purpose: it is loaded once, runs on two uvicorn workers with one thread of torch each, and
answers in FastAPI's thread pool. ``PLAIN_APP_FOLDER`` holds what :func:`save` wrote.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from fastapi import FastAPI
from pytorch_tabnet.tab_model import TabNetClassifier

app = FastAPI()


def encode(frame: pd.DataFrame, columns: dict[str, Any]) -> np.ndarray:
    """A float table, categorical columns first: the category's number, 0 where it is not known; numbers as they are."""
    table = frame.reindex(columns=[*columns["categories"], *columns["numeric"]])
    codes = [table[name].map(categories).fillna(0) for name, categories in columns["categories"].items()]
    numeric = table[columns["numeric"]].astype(np.float32).fillna(0.0)
    return np.column_stack([*codes, numeric]).astype(np.float32)


def save(folder: Path, classifier: TabNetClassifier, columns: dict[str, Any]) -> None:
    """Write what the app reads.

    Args:
        folder: where to.
        classifier: fitted on what :func:`encode` gives.
        columns: ``categories``, the number of each category's text by column, and ``numeric``, names of columns.
    """
    folder.mkdir(parents=True, exist_ok=True)
    classifier.save_model(str(folder / "model"))
    (folder / "columns.json").write_text(json.dumps(columns))


class _Loaded:
    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)
        self.columns = json.loads((folder / "columns.json").read_text())
        self.classifier = TabNetClassifier(verbose=0)
        self.classifier.load_model(str(folder / "model.zip"))


loaded = _Loaded(Path(os.environ["PLAIN_APP_FOLDER"])) if "PLAIN_APP_FOLDER" in os.environ else None


@app.get("/health")
def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/predict")
def predict(transaction: dict[str, Any]) -> dict[str, float]:
    assert loaded
    table = encode(pd.DataFrame([transaction]), loaded.columns)
    return {"score": float(loaded.classifier.predict_proba(table)[0, 1])}
