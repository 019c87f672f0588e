"""``python -m fraudlab.train``: from raw transactions to a trained, measured model in a run folder."""

import time
from pathlib import Path

from fraudlab.cli import asked, command, overrides
from fraudlab.config import TrainConfig
from fraudlab.config.overrides import literal, to_type


@command("train")
def main(config: TrainConfig) -> None:
    print(run_training(config), end="")


def run_training(config: TrainConfig) -> str:
    """Prepare, split, fit, score and report; gives what the command prints, nothing on other ranks than the first."""
    started = time.perf_counter()
    # Heavy: only now, so that --help and config errors answer at once.
    from fraudlab.data.checks import warn_of
    from fraudlab.data.prepared import prepared_table
    from fraudlab.reporting.published import benchmark_for
    from fraudlab.reporting.report import write_report
    from fraudlab.reporting.table import metrics_table
    from fraudlab.runs.folder import rank
    from fraudlab.training import resume, tracking, trial
    from fraudlab.training.fit import run_facts
    from fraudlab.training.steps import finish, fit_models, open_run, score_and_measure

    trial.connect()
    run, config, pretrained = open_run(config, "train", overrides())
    if run.metrics_path.is_file():
        if config.report and not (run.path / "report.html").is_file():
            write_report(run.path)
        return f"the run in {run.path} has ended; its metrics: {to_type('evaluate', literal('run', run.path))}\n"
    resumed = bool(config.resume)
    table = prepared_table(
        config.data, config.features, config.label_delay_days, Path(config.paths.data_dir), config.split, read=resumed
    )
    if pretrained:
        pretrained.check_columns(table)
    with tracking.begin(config.logger, run) as tracked:
        split = table.split(config.split, config.label_delay_days)
        warn_of(table, split)
        published = benchmark_for(config)
        facts = {**asked(), **run_facts(config, table, split), "published": config.published if published else None}
        facts = resume.begin(run, facts, resumed=resumed)
        fits = fit_models(config, table, split, run, pretrained)
        if rank() > 0:
            return ""
        metrics = score_and_measure(config, table, split, run, fits)
        facts |= {"auto": fits.selection.auto, "wall_seconds": time.perf_counter() - started}
        finish(run, tracked, facts, metrics)
        if config.report:
            write_report(run.path)
    return f"\n{metrics_table(metrics, published, simulated=table.schema.simulated)}\n\nrun folder: {run.path}\n"


if __name__ == "__main__":
    main()
