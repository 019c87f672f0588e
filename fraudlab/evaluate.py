"""``python -m fraudlab.evaluate run=<folder>``: the metrics of a run again, from its checkpoints."""

from pathlib import Path

from fraudlab.cli import command
from fraudlab.config import EvaluateConfig
from fraudlab.errors import UserError


@command("evaluate")
def main(config: EvaluateConfig) -> None:
    from fraudlab.bundle import load
    from fraudlab.files import write_json
    from fraudlab.reporting.published import benchmark_for
    from fraudlab.reporting.ranking_curve import write_curve
    from fraudlab.reporting.table import metrics_table
    from fraudlab.runs.costs import costs_of
    from fraudlab.runs.data import table_of
    from fraudlab.runs.folder import RunFolder
    from fraudlab.runs.predictions import split_metrics
    from fraudlab.runs.savings import savings_of, savings_table
    from fraudlab.runs.settings import load_config
    from fraudlab.training.scoring import predict_parts
    from fraudlab.training.trainer import use_threads

    use_threads(0)
    run = RunFolder.find(Path(config.run))
    trained = load_config(run.settled_by.config_path)
    table = table_of(run, trained, config.moved, Path(config.paths.data_dir))
    schema = table.schema
    split = table.split(trained.split, trained.label_delay_days)
    recorded = run.metrics()
    # A run with test=false has no metrics of the test window, and gets none; runs of old have no recent rows.
    parts = [part for part in ("val", "test", "recent") if run.predictions_path(part).is_file()]
    predictions = predict_parts(trained, table, split, run, parts)
    costs = costs_of(run)
    metrics = split_metrics(predictions, *costs)
    print(metrics_table(metrics, benchmark_for(trained), simulated=schema.simulated))
    out = Path(config.paths.output_dir)
    write_json(out / "metrics.json", metrics)
    for part in metrics:
        write_curve(out / "curves" / f"{part}.csv", predictions[part])
    differing = [
        f"{part}.{name}: {recorded[part][name]} in metrics.json, {value} now"
        for part, values in metrics.items()
        for name, value in values.items()
        if recorded[part].get(name, value) != value  # a plugin of today may add a metric
    ]
    if "recent" in predictions and not predictions["recent"]["score"].equals(run.predictions("recent")["score"]):
        differing.append(f"scores of the recent rows: others than in {run.predictions_path('recent')}")
    if differing:
        raise UserError("metrics differ from those of the run:\n  " + "\n  ".join(differing))
    print(f"\nthe same metrics as in {run.metrics_path}; with curves: {out}")
    if config.bundle is not None:
        saved = savings_of(load(config.bundle), run, predictions, *costs)
        write_json(out / "savings.json", saved)
        print(f"\n{savings_table(saved)}")


if __name__ == "__main__":
    main()
