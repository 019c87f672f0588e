"""Bundles of a user's own table, without a training, and exported ones that are changed."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import polars as pl

from fraudlab.bundle import load, manifest
from fraudlab.bundle.contract import contract
from fraudlab.bundle.decision import Decision
from fraudlab.bundle.runtime import Bundle
from fraudlab.config import TableConfig
from fraudlab.data.sources import table
from fraudlab.features.contract import with_features
from fraudlab.features.encoder import Arrays, TableEncoder
from fraudlab.features.registry import make

COLUMNS = {"name": "columns"}


def bundle_of(
    folder: Path, config: TableConfig, network: str, settings: Mapping[str, Any] = COLUMNS
) -> tuple[Bundle, TableEncoder, pl.DataFrame]:
    """A bundle with ``network``, in ONNX's text form; its encoder as it was fitted, and the table it was fitted on."""
    source = table.load(config, folder / "cache")
    features = make(settings, source.schema)
    frame = with_features(features, source.frame)
    encoder = TableEncoder.fit(frame, features.categorical, features.numeric)
    bundle = folder / "bundle"
    encoder.save(bundle)
    (bundle / "look_ups").mkdir()
    np.save(bundle / "look_ups" / "narrow.npy", features.lookups(source.frame)["narrow"])
    onnx.save(onnx.parser.parse_model(network), bundle / "model.onnx")
    decision = Decision.from_scores(np.array([0, 1]), np.array([0.1, 0.9]), medium=500, high=100)
    for name, content in {
        "schema": contract(source.schema, features, [], encoder.never_missing),
        "features": {"settings": dict(settings), "schema": source.schema.to_dict()},
        "decision": decision.to_dict(),
        "metrics": {},
    }.items():
        (bundle / f"{name}.json").write_text(json.dumps(content))
    return Bundle(bundle, {}, ""), encoder, frame


def same(one: Arrays, other: Arrays) -> bool:
    """Bit for bit."""
    return np.array_equal(one.categorical, other.categorical) and one.numeric.tobytes() == other.numeric.tobytes()


def signed(folder: Path) -> Path:
    """The bundle with a manifest of its files as they are now."""
    facts = json.loads((folder / manifest.NAME).read_text())
    manifest.write(folder, {key: value for key, value in facts.items() if key not in ("files", "format")})
    return folder


def with_reachable_thresholds(bundle: Path, folder: Path) -> Bundle:
    """A copy in ``folder`` with thresholds that its golden records reach: a tenth of them high, a quarter medium."""
    shutil.copytree(bundle, folder)
    scores = sorted((row["score"] for row in load(folder).golden()), reverse=True)
    decision = json.loads((folder / "decision.json").read_text())
    thresholds = {"high": scores[len(scores) // 10], "medium": scores[len(scores) // 4]}
    (folder / "decision.json").write_text(json.dumps({**decision, "thresholds": thresholds}))
    return load(signed(folder))
