"""A run folder as one self-contained HTML page: metrics, plots, operating points, provenance."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from fraudlab.errors import UserError
from fraudlab.files import write_text
from fraudlab.metrics.metrics import ADMIN_COST
from fraudlab.metrics.operating_points import operating_point, threshold_for_budget
from fraudlab.metrics.ranking import Ranking
from fraudlab.metrics.registry import headings
from fraudlab.metrics.slices import FEWEST_FRAUDS
from fraudlab.models.registry import MODELS
from fraudlab.reporting.blend import blend_rows
from fraudlab.reporting.plots import ScoredSplit, draw_plots
from fraudlab.reporting.published import BENCHMARKS
from fraudlab.reporting.template import environment
from fraudlab.runs.bands import Bands, bands_of
from fraudlab.runs.folder import RunFolder
from fraudlab.runs.slices import threshold_part

_ALERTS_PER_1000 = (1, 2, 5, 10, 20, 50)


def write_report(run: Path) -> Path:
    """Write ``report.html`` into the run folder and return its path.

    Reads ``metrics.json`` and ``predictions/{val,test}.parquet`` (one of them at least; columns ``label``, ``score``
    and, for the cards found each day, ``time`` and ``card_id``) and, where they are there,
    ``predictions/recent.parquet`` (scores of a tested model that validation did not score), ``run.json``,
    ``config.yaml`` and ``csv/metrics.csv`` (the history of Lightning's ``CSVLogger``). Metrics come from
    ``metrics.json``; curves and operating points from the predictions. The page loads nothing from elsewhere.

    Raises:
        UserError: ``run`` lacks ``metrics.json`` or predictions, or these cannot be read as such.
    """
    metrics = _read_json(run / "metrics.json")
    if metrics is None:
        raise UserError(f"{run} holds no metrics.json; give the folder of a finished training or evaluation")
    splits = {name: split for name in ("val", "test") if (split := _read_split(run / f"predictions/{name}.parquet"))}
    if not splits:
        raise UserError(f"{run} holds no predictions/val.parquet or predictions/test.parquet; predict first")
    recent = run / "predictions" / "recent.parquet"
    unlabelled = pl.read_parquet(recent, glob=False)["score"].to_numpy() if recent.is_file() else None
    provenance = _read_json(run / "run.json") or {}
    benchmark = BENCHMARKS.get(provenance.get("published") or "")
    config = run / "config.yaml"
    model = str(provenance.get("model"))
    step = MODELS[model].step if model in MODELS else "epoch"
    plots = draw_plots(splits, benchmark, run / "csv" / "metrics.csv", step)
    pages = environment()
    pages.filters |= {"metric": _figure, "percent": _percentage}
    page = pages.get_template("report.html.jinja").render(
        run=provenance,
        metrics=metrics,
        columns={**headings(), "cost_savings": "savings"},
        bands=_bands(run, metrics, config),
        published=benchmark,
        best=benchmark.best() if benchmark else {},
        plots=plots,
        step=step,
        operating_points=_operating_points(splits, unlabelled),
        threshold_split=_thresholds_from(splits, unlabelled, fitted_twice=RunFolder(run).fitted_twice),
        measured_split="test" if "test" in splits else "validation",
        slices=_read_json(run / "slices.json"),
        slices_on={"recent": "rows before the test", "val": "validation"}[threshold_part(RunFolder(run))],
        fewest_frauds=FEWEST_FRAUDS,
        blend=blend_rows(RunFolder(run).blend, metrics),
        provenance=_flat(provenance),
        config=config.read_text(encoding="utf-8") if config.is_file() else None,
    )
    write_text(run / "report.html", page)
    return run / "report.html"


# ------------------------------------------------------------------------------------------------- what is read


def _read_json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}); write it again or remove it") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds {type(content).__name__} where an object is expected")
    return content


def _read_split(path: Path) -> ScoredSplit | None:
    if not path.is_file():
        return None
    frame = pl.read_parquet(path, glob=False)
    if missing := [name for name in ("label", "score") if name not in frame.columns]:
        raise UserError(f"{path}: column {' and '.join(missing)} missing; it has: {', '.join(frame.columns)}")
    if not frame.height:
        raise UserError(f"{path} holds no rows")
    day = card = None
    if isinstance(frame.schema.get("time"), pl.Datetime | pl.Date) and not frame["time"].null_count():
        day = frame["time"].cast(pl.Date).cast(pl.Int32).to_numpy()
    if "card_id" in frame.columns and frame["card_id"].null_count() < frame.height:
        card = frame["card_id"].to_numpy()
    return ScoredSplit(frame["label"].to_numpy() == 1, frame["score"].cast(pl.Float64).to_numpy(), day, card)


def _bands(run: Path, metrics: Mapping[str, Any], config: Path) -> Bands | None:
    """Intervals of the test's metrics, or of the validation's; None where the predictions do not say enough."""
    folder = RunFolder(run)
    part = "test" if folder.predictions_path("test").is_file() else "val"
    predictions = folder.predictions(part)
    if not {"time", "card_id", "amount"} <= set(predictions.columns):
        return None
    settings = yaml.safe_load(config.read_text(encoding="utf-8")) if config.is_file() else {}
    costs = settings.get("admin_cost", ADMIN_COST), settings.get("recovery_share", 1.0)
    return bands_of(predictions, metrics.get(part) or {}, *costs)


def _thresholds_from(splits: Mapping[str, ScoredSplit], recent: np.ndarray | None, *, fitted_twice: bool) -> str:
    if recent is not None:
        return f"the tested model's scores of {len(recent):,} rows before the test that it was not fitted on"
    if "val" not in splits:
        return "the test itself"
    if fitted_twice:
        return "validation, scored by the model fitted before it; the tested model has another scale of scores"
    return "validation, scored by the tested model"


def _operating_points(splits: Mapping[str, ScoredSplit], recent: np.ndarray | None) -> list[dict[str, float | None]]:
    """Thresholds that keep within an alert budget on rows that the tested model has not seen, and what they do on test.

    ``recent``: the tested model's scores of such rows; None to take the validation's.
    """
    measured_on = (splits.get("test") or splits["val"]).ranking
    chosen_on = (splits.get("val") or splits["test"]).ranking
    if recent is not None:
        chosen_on = Ranking(np.zeros(len(recent)), recent)
    points = []
    for budget in _ALERTS_PER_1000:
        threshold = threshold_for_budget(chosen_on, budget)
        if threshold <= chosen_on.threshold[0]:  # else the first tie group alone is larger than the budget
            points.append({"budget": budget, **operating_point(measured_on, threshold)})
    return points


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested objects as dotted keys, for a table of two columns."""
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= _flat(inner, f"{prefix}{key}.") if isinstance(inner, Mapping) else {f"{prefix}{key}": inner}
    return flat


def _percentage(share: float | None, decimals: int = 2) -> str:
    return "–" if share is None else f"{100 * share:.{decimals}f}%"


def _figure(value: Any) -> str:
    if value is None or value != value:
        return "–"
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) >= 0.001 or value == 0 else f"{value:.1e}"
    return f"{value:,}" if isinstance(value, int) else str(value)


# ------------------------------------------------------------------------------------------------- what is drawn
