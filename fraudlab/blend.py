"""``python -m fraudlab.blend runs=[<folder>,...]``: runs of the same rows as one model, and one bundle of them."""

from pathlib import Path

from fraudlab.cli import command
from fraudlab.config import BlendConfig, ExportConfig


@command("blend")
def main(config: BlendConfig) -> None:
    from fraudlab.bundle.summary import summary
    from fraudlab.exporter.writer import export
    from fraudlab.files import write_json
    from fraudlab.reporting.blend import blend_table
    from fraudlab.reporting.report import write_report
    from fraudlab.reporting.table import metrics_table
    from fraudlab.runs.blend import blend, run_facts, settings_yaml
    from fraudlab.runs.comparison import find_runs
    from fraudlab.runs.folder import RunFolder
    from fraudlab.runs.predictions import split_metrics
    from fraudlab.training.trainer import use_threads

    runs = find_runs(config.runs)
    run = RunFolder.start(Path(config.paths.output_dir), settings_yaml(config))
    metrics = split_metrics(blend(config, runs, run), config.admin_cost, config.recovery_share)
    run.write_provenance(facts := run_facts(runs))
    write_json(run.metrics_path, metrics)
    write_report(run.path)
    print(metrics_table(metrics, simulated=facts["simulated"]))
    print(f"\n{blend_table(run.blend, metrics)}\n\nrun folder: {run.path}")
    if config.bundle:
        use_threads(0)
        asked = ExportConfig(run=str(run.path), moved=config.moved, paths=config.paths)
        bundle = export(asked, run, run.path / "bundle")
        print(f"\n{summary(bundle)}\n\nbundle: {bundle.path}")


if __name__ == "__main__":
    main()
