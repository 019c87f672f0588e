"""From a finished run to its bundle: all that scoring needs, checked against the checkpoint before it appears."""

import json
import logging
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from fraudlab.atomic import replacing, write_json
from fraudlab.bundle import manifest
from fraudlab.bundle.contract import computed, contract, raw_columns
from fraudlab.bundle.onnx_model import quantize_int8, store_fp16, write_onnx
from fraudlab.bundle.reference import reference
from fraudlab.bundle.runtime import Bundle
from fraudlab.config import BaselineConfig, ExportConfig
from fraudlab.data.batches import Batch
from fraudlab.data.encoded import encode
from fraudlab.data.prepared import PreparedTable, prepared_table
from fraudlab.decision import Decision
from fraudlab.errors import UserError
from fraudlab.features.encoder import Arrays, TableEncoder
from fraudlab.features.registry import settings_of
from fraudlab.fitting import load_network
from fraudlab.learner import score
from fraudlab.metrics.ranking import average_precision
from fraudlab.runs import RunFolder, git_commit, load_config, versions

log = logging.getLogger(__name__)

MOST_DIFFERENCE = 1e-5  # in probability, between bundle and checkpoint
MOST_LOSS = 0.002  # of average precision, where weights are kept in less than single precision
GOLDEN_RECORDS = 64
_PACKAGES = ("fraudlab", "torch", "onnx", "onnxruntime", "numpy", "polars", "safetensors")
_TRANSDUCTIVE = (
    "features.scope=transductive: the model learnt from aggregates over rows after the one judged, which cannot be had "
    "in use; its figures do not hold there. Train with features.scope=point_in_time to serve"
)
_FRESH = "import sys; from fraudlab.bundle import load; load(sys.argv[1]).check()"


def export(config: ExportConfig, run: RunFolder, out: Path) -> Bundle:
    """Write the tested model of ``run`` to the folder ``out``, whole or not at all.

    Thresholds and calibration come from the run's scores of the validation split, which are of a model that has not
    learnt from it: after a refit, not of the tested one.

    Raises:
        UserError: ``out`` holds something else than a bundle; the data changed since the run; or the bundle does not
            score as the checkpoint does.
    """
    if out.exists() and not (out / manifest.NAME).is_file():
        raise UserError(f"out={out} is there already and no bundle; give another folder or remove it")
    trained = load_config(run.config_path)
    if isinstance(trained.model, BaselineConfig):
        raise UserError(f"model={trained.model.name} has no bundle; export a run of model=tabnet or model=mlp")
    warned = [_TRANSDUCTIVE] if getattr(trained.features, "scope", None) == "transductive" else []
    for warning in warned:
        log.warning(warning)
    table = prepared_table(trained.data, trained.features, Path(config.paths.data_dir))
    provenance = run.provenance()
    if table.fingerprint != provenance["data_fingerprint"]:
        raise UserError(f"data={trained.data.name} is not what {run.path} was trained on; train again, then export")
    split = table.split(trained.split)
    features = table.features
    encoder = TableEncoder.load(run.final / "encoder")
    network = load_network(run.final / "checkpoints" / "best.ckpt")
    validation = run.predictions("val")
    decision = Decision.from_scores(
        validation["label"].to_numpy(),
        validation["score"].to_numpy(),
        medium=config.medium_per_1000,
        high=config.high_per_1000,
        calibrate=config.calibration == "platt",
    )
    golden_rows = _golden_rows(split.validation, table.label)
    records = _records(table, golden_rows, [c.name for c in raw_columns(table.schema, features)] + computed(features))
    facts = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": trained.model.name,
        "precision": config.precision,
        "quantize": config.quantize,
        "git_commit": git_commit(),
        "run": {key: provenance[key] for key in ("experiment", "git_commit", "data", "simulated", "seed")},
        "data_fingerprint": table.fingerprint,
        "versions": versions(_PACKAGES),
        "warnings": warned,
    }

    with replacing(out) as aside:
        encoder.save(aside)
        write_json(aside / "schema.json", contract(table.schema, features, records))
        write_json(
            aside / "features.json", {"settings": settings_of(trained.features), "schema": table.schema.to_dict()}
        )
        write_json(aside / "decision.json", decision.to_dict())
        write_json(aside / "metrics.json", run.metrics())
        _save_look_ups(aside / "look_ups", features.look_ups(table.source))
        inputs = list(dict.fromkeys([*features.categorical, *features.numeric]))
        learnt = table.rows(split.train, inputs)
        scores = decision.calibrate(validation["score"].to_numpy())
        write_json(aside / "reference.json", reference(learnt, features.categorical, features.numeric, scores))
        del learnt
        model = aside / "model.onnx"
        write_onnx(network, len(encoder.cardinalities), encoder.num_numeric, model)
        if config.precision == "fp16":
            store_fp16(model)
        if config.quantize == "int8":
            quantize_int8(model)

        bundle = Bundle(aside, {}, "")

        def checkpoint(batch: Batch) -> np.ndarray:
            return score(network, batch, trained.eval_batch_size)

        exact = (config.precision, config.quantize) == ("fp32", "none")
        batch = encode(table, split.validation, encoder)
        arrays = Arrays(batch.categorical.numpy(), batch.numeric.numpy())
        rows = _parity(bundle, arrays, checkpoint(batch), batch.label.numpy(), exact)
        encoded = bundle.encode(records)
        if not bundle.look_ups:  # with them, a record stands after the table's last row
            _check_skew(encoded, encoder.transform(table.rows(golden_rows, inputs)))
        of_records = Batch.of(*encoded, np.zeros(len(records)))
        expected = bundle.score(encoded)
        from_records = float(np.abs(bundle.probability(encoded) - checkpoint(of_records)).max())
        if exact and not from_records <= MOST_DIFFERENCE:
            raise UserError(f"bundle and checkpoint differ by {from_records:.2g} on raw records; the export is refused")
        write_json(aside / "parity.json", {**rows, "records": len(records), "records_max_difference": from_records})
        lines = [
            json.dumps({"record": record, "score": score}, allow_nan=False)
            for record, score in zip(records, expected.tolist(), strict=True)
        ]
        (aside / "golden.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        manifest.write(aside, facts)
        _check_in_a_fresh_process(aside)
    return Bundle(out, manifest.verify(out), manifest.version(out))


def _golden_rows(rows: np.ndarray, label: pl.Series) -> np.ndarray:
    """Rows spread evenly over ``rows``, a quarter of them frauds if there are so many."""
    fraud = rows[label.gather(rows).to_numpy() == 1]
    picked = [
        part[np.linspace(0, len(part) - 1, min(count, len(part))).astype(np.int64)]
        for part, count in ((fraud, GOLDEN_RECORDS // 4), (rows, GOLDEN_RECORDS - GOLDEN_RECORDS // 4))
        if len(part)
    ]
    return np.unique(np.concatenate(picked))


def _records(table: PreparedTable, rows: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """Rows as raw records, in values that JSON has."""
    frame = table.rows(rows, names)
    return [{name: _plain(value) for name, value in row.items()} for row in frame.to_dicts()]


def _plain(value: Any) -> Any:
    if isinstance(value, date):  # a datetime is one too
        return value.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _save_look_ups(folder: Path, look_ups: Mapping[str, np.ndarray]) -> None:
    if look_ups:
        folder.mkdir()
    for name, array in look_ups.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)


def _parity(bundle: Bundle, arrays: Arrays, checkpoint: np.ndarray, label: np.ndarray, exact: bool) -> dict[str, Any]:
    """How far bundle and checkpoint are apart on the validation split.

    Raises:
        UserError: too far.
    """
    probability = bundle.probability(arrays)
    difference = float(np.abs(probability - checkpoint).max())
    precision = {"checkpoint": average_precision(label, checkpoint), "bundle": average_precision(label, probability)}
    fall = precision["checkpoint"] - precision["bundle"]
    if exact and not difference <= MOST_DIFFERENCE:
        raise UserError(
            f"bundle and checkpoint differ by {difference:.2g} in probability on validation (at most "
            f"{MOST_DIFFERENCE:g}); the export is refused"
        )
    if not exact and not fall <= MOST_LOSS:  # also refused where there are no frauds to tell by
        raise UserError(
            f"average precision on validation falls by {fall:.4f} (at most {MOST_LOSS}); "
            "export with quantize=none precision=fp32"
        )
    return {
        "rows": len(label),
        "max_difference": difference,
        "limit": MOST_DIFFERENCE if exact else None,
        "average_precision": {name: None if math.isnan(value) else value for name, value in precision.items()},
    }


def _check_skew(of_records: Arrays, of_frame: Arrays) -> None:
    alike = np.array_equal(of_records.categorical, of_frame.categorical)
    if not (alike and np.array_equal(of_records.numeric, of_frame.numeric)):
        raise UserError("raw records and the training table do not encode alike; the export is refused")


def _check_in_a_fresh_process(folder: Path) -> None:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", _FRESH, str(folder)], capture_output=True, text=True
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:]
        raise UserError(f"a fresh process does not get the golden scores; the export is refused: {' '.join(said)}")
