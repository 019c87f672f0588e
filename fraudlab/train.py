"""``python -m fraudlab.train``: from raw transactions to a trained, measured model in a run folder."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from fraudlab.cli import asked, command, overrides
from fraudlab.config import TrainConfig
from fraudlab.config.overrides import literal, to_type

if TYPE_CHECKING:
    from fraudlab.runs.folder import RunFolder


@command("train")
def main(config: TrainConfig) -> None:
    if (run := run_training(config)) is not None:
        from fraudlab.reporting.published import BENCHMARKS
        from fraudlab.reporting.table import metrics_table

        facts = run.provenance()
        published = BENCHMARKS.get(facts["published"] or "")
        print(f"\n{metrics_table(run.metrics(), published, simulated=facts['simulated'])}")
        print(f"\nrun folder: {run.path}")


def run_training(config: TrainConfig) -> "RunFolder | None":
    """Prepare, split, fit, score and report; None where there is nothing to tell: another rank, or an ended run."""
    started = time.perf_counter()
    # Heavy: only now, so that --help and config errors answer at once.
    from fraudlab.data.checks import warn_of
    from fraudlab.data.prepared import prepared_table
    from fraudlab.reporting.published import benchmark_for
    from fraudlab.reporting.report import write_report
    from fraudlab.runs.folder import RunFolder, rank
    from fraudlab.runs.settings import config_yaml
    from fraudlab.training import resume, tracking, trial
    from fraudlab.training.checks import check_settings
    from fraudlab.training.fit import run_facts
    from fraudlab.training.pretrained import Pretrained
    from fraudlab.training.steps import finish, fit_models, score_and_measure
    from fraudlab.training.trainer import use_threads

    trial.connect()
    run = None
    if config.resume:
        run, config = resume.settings(config, "train", overrides())
        if run.metrics_path.is_file():
            if config.report and not (run.path / "report.html").is_file():
                write_report(run.path)
            print(f"the run in {run.path} has ended; its metrics: {to_type('evaluate', literal('run', run.path))}")
            return None
    check_settings(config, overrides())
    use_threads(config.threads)
    pretrained = Pretrained.load(config)
    if run is None:
        run = RunFolder.start(Path(config.paths.output_dir), config_yaml(config))
    table = prepared_table(config.data, config.features, config.label_delay_days, Path(config.paths.data_dir))
    if pretrained:
        pretrained.check_columns(table)
    with tracking.begin(config.logger, run) as tracked:
        split = table.split(config.split, config.label_delay_days)
        warn_of(table, split)
        facts = {
            **asked(),
            **run_facts(config, table, split),
            "published": config.published if benchmark_for(config) else None,
            **({"threads": config.model.threads} if getattr(config.model, "threads", 0) else {}),
        }
        facts = resume.begin(run, facts, resumed=bool(config.resume))
        fits = fit_models(config, table, split, run, pretrained)
        if rank() > 0:
            return None
        metrics = score_and_measure(config, table, split, run, fits)
        finish(run, tracked, {**facts, "wall_seconds": time.perf_counter() - started}, metrics)
        if config.report:
            write_report(run.path)
        return run


if __name__ == "__main__":
    main()
