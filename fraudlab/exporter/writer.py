"""From a finished run to its bundle: all that scoring needs, checked against the checkpoint before it appears."""

import logging
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from fraudlab.bundle import formats, manifest
from fraudlab.bundle.card import FILE, TEXT, markdown
from fraudlab.bundle.card import card as made
from fraudlab.bundle.contract import computed, contract, inputs, raw_columns
from fraudlab.bundle.decision import Decision
from fraudlab.bundle.money import amounts_of
from fraudlab.bundle.reasons import Columns
from fraudlab.bundle.runtime import Bundle
from fraudlab.config import ExportConfig
from fraudlab.data.batches import Batch
from fraudlab.data.encoded import encode
from fraudlab.data.prepared import PreparedTable
from fraudlab.data.splits.contract import RowSplit
from fraudlab.errors import UserError
from fraudlab.exporter import card, parity
from fraudlab.exporter.blend import blended_model
from fraudlab.exporter.evidence import known_before
from fraudlab.exporter.golden import golden_rows, records_of, write_golden
from fraudlab.exporter.models import SAMPLE, Model, tested_model
from fraudlab.exporter.money import money_of, stand_in
from fraudlab.exporter.reference import reference, sample_of
from fraudlab.exporter.smaller import Served, arrays_of, measured, score_all, scorer, served
from fraudlab.features.encoder import Arrays, TableEncoder
from fraudlab.features.joined import Encoder, parts_of, split
from fraudlab.features.registry import FEATURES, settings_of
from fraudlab.files import replacing, write_json, write_text
from fraudlab.runs.data import table_of
from fraudlab.runs.folder import BLEND, RunFolder
from fraudlab.runs.predictions import day_of, groups_of
from fraudlab.runs.provenance import PACKAGES, git_commit, versions
from fraudlab.runs.settings import load_config

log = logging.getLogger(__name__)

_PACKAGES = tuple({*PACKAGES, "onnx", "onnxruntime", "safetensors"})
_OF_THE_FIRST = "validation rows, scored by the model fitted before them, which has another scale of scores"
_NO_RECENT = (
    "fewer than 1,000 rows before the test were not used to fit the tested model, so thresholds and calibration "
    "come from the model fitted before the validation, and this one may make more or fewer alerts "
    "than budgeted. Train with label_delay_days above 0 and more rows, or with refit=false"
)
_UNCALIBRATED = (
    "levels are decided by money, for which scores are taken as probabilities of fraud, and calibration=none leaves "
    "them as the model gives them; export with calibration=best"
)


def export(config: ExportConfig, run: RunFolder, out: Path) -> Bundle:
    """Write the tested model of ``run`` to the folder ``out``, whole or not at all.

    Thresholds come from the tested model's own scores of rows that it has not learnt from. What needs labels comes from
    the validation, by the model that was scored on it; a promise from labelled rows of the tested model alone. What
    each rests on stands in ``decision.json``.

    Raises:
        UserError: ``out`` holds something else than a bundle; the data changed since the run; or the bundle does not
            score as the checkpoint does.
    """
    if out.exists() and not (out / manifest.NAME).is_file():
        raise UserError(f"out={out} exists and is not a bundle; choose another folder or remove it")
    trained = _Trained.by(run, config)
    facts = _facts(config, trained)
    with replacing(out) as aside:
        records = _write_input(trained, aside)
        served = trained.served
        served.model.write(aside, served.select(trained.sample), Columns(served.encoder))
        _write_decision(config, trained, aside)
        bundle = Bundle(aside, facts, "")
        _prove(config, trained, records, bundle)
        _write_card(trained, bundle)
        manifest.write(aside, facts)
        parity.check_in_a_fresh_process(aside)
    return Bundle(out, manifest.verify(out), manifest.version(out))


@dataclass(frozen=True)
class _Trained:
    """A finished run, with the table that it was trained on."""

    run: RunFolder
    config: Any
    table: PreparedTable
    split: RowSplit
    encoder: Encoder
    model: Model
    asked: ExportConfig

    @classmethod
    def by(cls, run: RunFolder, asked: ExportConfig) -> "_Trained":
        model: Model
        encoder: Encoder
        config = load_config(run.settled_by.config_path)
        if run.blend:
            model, encoder = blended_model(asked, run)
        else:
            encoder = TableEncoder.load(run.final / "encoder")
            model = tested_model(asked, run, config, encoder)
        table = table_of(run, config, asked.moved, Path(asked.paths.data_dir))
        split = table.split(config.split, config.label_delay_days)
        return cls(run, config, table, split, encoder, model, asked)

    @cached_property
    def validation(self) -> Batch:
        """The encoded validation split."""
        return encode(self.table, self.split.validation, self.encoder)

    @cached_property
    def served(self) -> Served:
        """What the bundle holds of the tested model."""
        return served(self.asked, self.model, self.encoder, self.validation, self.sample)

    def served_score(self, rows: Batch, folder: Path) -> np.ndarray:
        """Fraud probability of rows by the model that stands in the bundle's folder."""
        return score_all(scorer(folder / "model.onnx", self.served.select(arrays_of(rows))), len(rows.label))

    @property
    def learnt(self) -> np.ndarray:
        """Rows that the tested model has learnt from."""
        return self.split.train if self.run.fitted_twice else self.split.selection_train

    def recent(self, folder: Path) -> np.ndarray | None:
        """Scores of rows that the tested model has not learnt from; None where validation's are, or none are."""
        if not self.run.fitted_twice or not len(self.split.recent):
            return None
        if not self.served.exact:
            return self.served_score(encode(self.table, self.split.recent, self.encoder), folder)
        if self.run.predictions_path("recent").is_file():
            return self.run.predictions("recent")["score"].to_numpy()
        return self.model.score(encode(self.table, self.split.recent, self.encoder))  # a run of an earlier version

    def tested(self, folder: Path) -> tuple[np.ndarray, np.ndarray]:
        """Scores of the test rows by the model that is served, and their amounts."""
        told = self.run.predictions("test")
        scores = told["score"].to_numpy()
        if not self.served.exact:
            scores = self.served_score(encode(self.table, self.split.test, self.encoder), folder)
        return scores, amounts_of(told["amount"])

    @cached_property
    def sample(self) -> Arrays:
        """Encoded rows that the tested model has learnt from, spread evenly over them."""
        rows = self.learnt[np.linspace(0, len(self.learnt) - 1, min(SAMPLE, len(self.learnt))).astype(np.int64)]
        return self.encoder.transform(self.table.rows(rows, self.inputs))

    @property
    def inputs(self) -> list[str]:
        """Columns that the encoder reads."""
        return list(dict.fromkeys([*self.table.categorical, *self.table.numeric]))

    @cached_property
    def golden_rows(self) -> np.ndarray:
        """Rows of the validation split that a server would score."""
        has_all = _known(self.table.rows(self.split.validation, sorted(self.never_missing)))
        rows = self.split.validation[has_all.select(pl.all_horizontal(pl.lit(True), pl.all())).to_series().to_numpy()]
        if not len(rows):
            raise UserError(
                f"every validation row lacks one of {', '.join(sorted(self.never_missing))}, which all training rows "
                "had: scores of such rows are not reliable. Choose another split, or leave the columns out"
            )
        return golden_rows(rows, self.table.label)

    @property
    def never_missing(self) -> set[str]:
        """Fields of a record that every training row had."""
        return self._learnt_from[0]

    @property
    def least_known(self) -> int:
        """How many of the fields that the model reads the emptiest training row had."""
        return self._learnt_from[1]

    @cached_property
    def _learnt_from(self) -> tuple[set[str], int]:
        read = {*self.served.encoder.categorical, *self.served.encoder.numeric}
        names = [name for name in inputs(self.table.schema, self.table.features) if name in read]
        known = _known(self.table.rows(self.learnt, names))
        least: Any = known.sum_horizontal().min()
        return {name for name in names if known[name].all()}, int(least or 0)


def _known(rows: pl.DataFrame) -> pl.DataFrame:
    """Which values are not missing: NaN and infinities are, as the encoder has it."""
    return rows.select(
        pl.col(name).is_finite().fill_null(False) if dtype.is_float() else pl.col(name).is_not_null()
        for name, dtype in rows.schema.items()
    )


def _facts(config: ExportConfig, trained: _Trained) -> dict[str, Any]:
    """What the manifest says besides its list of files."""
    provenance = trained.run.provenance()
    warned = [why] if (why := trained.config.features.not_in_use) else []
    if trained.run.fitted_twice and not len(trained.split.recent):
        warned.append(_NO_RECENT)
    if config.medium_money and config.calibration == "none":
        warned.append(_UNCALIBRATED)
    if config.medium_money and (said := stand_in(trained.run)):
        warned.append(said)
    for warning in warned:
        log.warning(warning)
    return {
        "format": formats.FORMAT if config.medium_money else formats.WITHOUT_MONEY,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **_models(trained),
        "precision": config.precision,
        "quantize": config.quantize,
        "git_commit": git_commit(),
        "run": {key: provenance[key] for key in ("experiment", "git_commit", "data", "simulated", "seed")},
        "data_fingerprint": trained.table.data_fingerprint,
        "versions": versions(_PACKAGES),
        "warnings": warned,
    }


def _models(trained: _Trained) -> dict[str, Any]:
    """The model's name; of a blend, its members, too."""
    if not trained.run.blend:
        return {"model": trained.config.model.name}
    members = [member for member in trained.run.blend["members"] if member["weight"]]
    return {
        "model": BLEND,
        "members": [{key: member[key] for key in ("model", "weight", "seed")} for member in members],
    }


def _write_input(trained: _Trained, folder: Path) -> list[dict[str, Any]]:
    """Write what leads from a raw record to arrays; returns the golden records."""
    table, features = trained.table, trained.table.features
    names = [column.name for column in raw_columns(table.schema, features)] + computed(features)
    as_read = table.schema.reading.as_read if table.schema.reading else {}
    records = records_of(table, trained.golden_rows, names, as_read)
    trained.served.encoder.save(folder)
    settings = settings_of(trained.config.features, trained.config.label_delay_days)
    settings = getattr(features, "settings", settings)  # with what was proposed, which a later version may do otherwise
    schema = contract(table.schema, features, records, trained.never_missing, trained.least_known)
    write_json(folder / "schema.json", schema)
    made = {"settings": settings, "schema": table.schema.to_dict(), "plugins": FEATURES.plugins(settings["name"])}
    write_json(folder / "features.json", made)
    if lookups := features.lookups(table.source):
        (folder / "look_ups").mkdir()
    for name, array in lookups.items():
        np.save(folder / "look_ups" / f"{name}.npy", array, allow_pickle=False)
    return records


def _write_decision(config: ExportConfig, trained: _Trained, folder: Path) -> None:
    """Write how scores are read, what they rest on and how good they are."""
    validation: pl.DataFrame = trained.run.predictions("val")
    recent = trained.recent(folder)
    if trained.run.fitted_twice and recent is None and (config.medium_recall or config.high_precision):
        raise UserError(
            "medium_recall and high_precision cannot be guaranteed: fewer than 1,000 rows before the test were left "
            "out of the fit of the tested model. Train with label_delay_days above 0 and more rows, or with refit=false"
        )
    probability = validation["score"].to_numpy()
    if not trained.served.exact and not trained.run.fitted_twice:
        probability = trained.served_score(trained.validation, folder)
    by, group = groups_of(validation, None)
    served = validation if recent is None else trained.run.predictions("recent")
    day, amount = day_of(served["time"]), amounts_of(served["amount"])
    decision = Decision.from_scores(
        validation["label"].to_numpy(),
        probability,
        recent,
        group if by in ("card", "terminal") else None,
        medium=config.medium_per_1000,
        high=config.high_per_1000,
        calibration=config.calibration,
        recall=config.medium_recall,
        precision=config.high_precision,
        confidence=config.confidence,
        known=known_before(trained.table, trained.split, recent, trained.config.label_delay_days),
        recent_day=None if day is None else day.to_numpy(),
        unit=group,
        money=money_of(trained.run, trained.table.schema.amount) if config.medium_money else None,
        amount=amount,
    )
    if trained.run.fitted_twice and recent is None:
        decision = replace(decision, rests_on=dict.fromkeys(decision.rests_on, _OF_THE_FIRST))
    write_json(folder / "decision.json", decision.to_dict())
    write_json(folder / "metrics.json", trained.run.metrics())
    rows, encoder = trained.learnt, trained.served.encoder
    arrays = arrays_of(encode(trained.table, rows, encoder))
    raw = trained.table.columns(sample_of(rows))
    unseen = probability if recent is None else recent
    if trained.run.fitted_twice and recent is None and trained.run.predictions_path("test").is_file():
        unseen, amount = trained.tested(folder)  # the first model's scores are on another scale
    scores = decision.calibrate(unseen)
    first, own = parts_of(encoder)[0], split(encoder, arrays)[0]  # each part encodes the same rows
    levels = decision.levels(scores, amount)
    write_json(folder / "reference.json", reference(own, first, raw, scores, levels, decision))


def _write_card(trained: _Trained, bundle: Bundle) -> None:
    """Write the model card, as data and as Markdown."""
    rows = trained.served.select(arrays_of(trained.validation))
    facts = {
        **card.of_run(trained.run, trained.config, trained.table, trained.split, trained.learnt),
        "calibration": card.of_scores(trained.run, bundle.decision),
        "importance": card.importance(bundle, rows),
    }
    write_json(bundle.path / FILE, facts)
    write_text(bundle.path / TEXT, markdown(made(bundle, facts)))


def _prove(config: ExportConfig, trained: _Trained, records: list[dict[str, Any]], bundle: Bundle) -> None:
    """Hold the bundle against the checkpoint, then write ``parity.json`` and the golden records."""
    served = trained.served
    label, rows = trained.validation.label.numpy(), served.select(arrays_of(trained.validation))
    theirs, ours = trained.model.score(trained.validation), bundle.probability(rows)
    encoded = bundle.encode(records)
    if not bundle.lookups:  # with them, a record stands after the table's last row
        parity.check_skew(encoded, served.encoder.transform(trained.table.rows(trained.golden_rows, trained.inputs)))
    in_full = [trained.encoder.encode(bundle.columns(record)) for record in records]
    categorical, numeric = (np.concatenate(part) for part in zip(*in_full, strict=True))
    of_records = trained.model.score(Batch.of(categorical, numeric, np.zeros(len(records))))
    found = {
        "rows": len(label),
        "max_difference": parity.difference(ours, theirs, "validation", limited=served.exact),
        "limit": parity.MOST_DIFFERENCE if served.exact else None,
        "average_precision": parity.precision(ours, theirs, label, limited=not served.exact),
        "records": len(records),
        "records_max_difference": parity.difference(
            bundle.probability(encoded), of_records, "raw records", limited=served.exact
        ),
    }
    if config.prune_columns or config.members is not None:
        after = measured(bundle.path / "model.onnx", served.model, served.encoder, rows, label)
        with tempfile.TemporaryDirectory() as folder:
            trained.model.write(Path(folder), trained.sample, Columns(trained.encoder))
            whole_rows = arrays_of(trained.validation)
            before = measured(Path(folder) / "model.onnx", trained.model, trained.encoder, whole_rows, label)
        left_out = [name for name in Columns(trained.encoder).names if name not in Columns(served.encoder).names]
        found["smaller"] = {"left_out": left_out, "before": before, "after": after}
    write_json(bundle.path / "parity.json", found)
    write_golden(bundle.path / "golden.jsonl", records, bundle.score(encoded))
