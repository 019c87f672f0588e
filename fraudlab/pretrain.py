"""``python -m fraudlab.pretrain``: TabNet learns the table's columns from each other, without labels."""

import time
from pathlib import Path

from fraudlab.cli import asked, command, overrides, same
from fraudlab.config import PretrainConfig
from fraudlab.config.overrides import literal, to_type


@command("pretrain")
def main(config: PretrainConfig) -> None:
    started = time.perf_counter()
    # Heavy: only now, so that --help and config errors answer at once.
    from fraudlab.data.prepared import prepared_table
    from fraudlab.reporting.table import reconstruction_table
    from fraudlab.runs.folder import rank
    from fraudlab.runs.provenance import peak_memory_bytes
    from fraudlab.training import resume, tracking
    from fraudlab.training.fit import pretrain, run_facts
    from fraudlab.training.pretraining import measure_parts
    from fraudlab.training.steps import finish, open_run

    run, config, _ = open_run(config, "pretrain", overrides())
    shared = ("experiment", "data", "features", "split", "model", "recipe", "label_delay_days", "plugins", "paths")
    resumed = bool(config.resume)
    begun = resume.recorded(run).get("command") if resumed else None
    use = to_type("train", *same(*shared, begun=begun), literal("model.pretrained", run.path))
    if run.metrics_path.is_file():
        print(f"the run in {run.path} has ended; train from it: {use}")
        return
    table = prepared_table(
        config.data, config.features, config.label_delay_days, Path(config.paths.data_dir), config.split, read=resumed
    )
    with tracking.begin(config.logger, run) as tracked:
        # It alone looks at labels: which cards are known, whether each part has frauds.
        split = table.split(config.split, config.label_delay_days)
        parts = {"train": split.selection_train, "val": split.validation, "test": split.test}
        facts = {**asked(), **run_facts(config, table, split)}
        facts = resume.begin(run, facts, resumed=resumed)
        # Never split.train, the later rows of the tested model: a training from here is chosen on the validation.
        fit = pretrain(config, table, split.selection_train, split.validation, run.final)
        if rank() > 0:
            return

        metrics = measure_parts(table, parts, run.final, config.eval_batch_size)
        metrics["train"] |= {
            "seconds": fit.seconds,
            "epochs": fit.epochs,
            "best_epoch": fit.best_epoch,
            "rows_per_second": fit.rows * fit.epochs / fit.seconds,
            "peak_memory_bytes": peak_memory_bytes(),
        }
        finish(run, tracked, {**facts, "auto": fit.auto, "wall_seconds": time.perf_counter() - started}, metrics)
        print(f"\n{reconstruction_table(metrics)}")
        print(f"\nrun folder: {run.path}\ntrain from it: {use}")


if __name__ == "__main__":
    main()
