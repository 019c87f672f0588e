"""``python -m fraudlab.evaluate run=<folder>``: the figures of a run again, from its checkpoints."""

from pathlib import Path

from fraudlab.cli import door
from fraudlab.config import EvaluateConfig
from fraudlab.errors import UserError


@door("evaluate")
def main(config: EvaluateConfig) -> None:
    from fraudlab.data.prepared import prepared_table
    from fraudlab.files import write_json
    from fraudlab.reporting.published import benchmark_for
    from fraudlab.reporting.ranking_curve import write_curve
    from fraudlab.reporting.table import figures_table
    from fraudlab.runs.folder import RunFolder
    from fraudlab.runs.predictions import predictions_frame, split_figures
    from fraudlab.runs.settings import load_config
    from fraudlab.training.scoring import score_rows

    run = RunFolder.find(Path(config.run))
    trained = load_config(run.config_path)
    table = prepared_table(trained.data, trained.features, Path(config.paths.data_dir))
    schema = table.schema
    split = table.split(trained.split)
    folder = run.selection if run.selection.is_dir() else run.final
    recorded = run.metrics()
    scored = {"val": (split.validation, folder), "test": (split.test, run.final)}
    predictions = {
        part: predictions_frame(table, rows, score_rows(trained, table, rows, where))
        for part, (rows, where) in scored.items()
        if part in recorded  # a run with test=false has no figures of the test window, and gets none
    }
    figures = split_figures(predictions)
    print(figures_table(figures, benchmark_for(trained.published, trained.data), simulated=schema.simulated))
    out = Path(config.paths.output_dir)
    write_json(out / "metrics.json", figures)
    for part, predicted in predictions.items():
        write_curve(out / "curves" / f"{part}.csv", predicted)
    differing = [
        f"{part}.{name}: {recorded[part][name]} in metrics.json, {value} now"
        for part, values in figures.items()
        for name, value in values.items()
        if recorded[part][name] != value
    ]
    if differing:
        raise UserError("figures differ from those of the run:\n  " + "\n  ".join(differing))
    print(f"\nthe same figures as in {run.metrics_path}; with curves: {out}")


if __name__ == "__main__":
    main()
