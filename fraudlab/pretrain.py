"""``python -m fraudlab.pretrain``: TabNet learns the table's columns from each other, without labels."""

import time
from pathlib import Path

from fraudlab.cli import asked, command, overrides
from fraudlab.config import PretrainConfig
from fraudlab.config.overrides import literal, to_type


@command("pretrain")
def main(config: PretrainConfig) -> None:
    started = time.perf_counter()
    # Heavy: only now, so that --help and config errors answer at once.
    from fraudlab.data.encoded import encode
    from fraudlab.data.prepared import prepared_table
    from fraudlab.features.encoder import TableEncoder
    from fraudlab.files import write_json
    from fraudlab.runs.folder import RunFolder, rank
    from fraudlab.runs.provenance import peak_memory_bytes
    from fraudlab.runs.settings import config_yaml
    from fraudlab.training import resume, tracking
    from fraudlab.training.checkpoints import load_checkpoint
    from fraudlab.training.checks import check_settings
    from fraudlab.training.fit import pretrain, run_facts
    from fraudlab.training.pretraining import measure, pretraining_network
    from fraudlab.training.trainer import use_threads

    run = None
    if config.resume:
        run, config = resume.settings(config, "pretrain", overrides())
        if run.metrics_path.is_file():
            use = to_type("train", literal("model.pretrained", run.path))
            print(f"the run in {run.path} has ended; train from it: {use}")
            return
    check_settings(config)
    use_threads(config.threads)
    if run is None:
        run = RunFolder.start(Path(config.paths.output_dir), config_yaml(config))
    table = prepared_table(config.data, config.features, config.label_delay_days, Path(config.paths.data_dir))
    with tracking.begin(config.logger, run) as tracked:
        # It alone looks at labels: which cards are known, whether each part has frauds.
        split = table.split(config.split, config.label_delay_days)
        parts = {"train": split.selection_train, "val": split.validation, "test": split.test}
        facts = {**asked(), **run_facts(config, table, split)}
        facts = resume.begin(run, facts, resumed=bool(config.resume))
        # Never split.train, the later rows of the tested model: a training from here is chosen on the validation.
        fit = pretrain(config, table, split.selection_train, split.validation, run.final)
        if rank() > 0:
            return

        encoder = TableEncoder.load(run.final / "encoder")
        rebuild, weights = load_checkpoint(run.final / "checkpoints" / "best.ckpt")
        network = pretraining_network(rebuild)
        network.load_state_dict(weights)
        metrics = {}
        for part, rows in parts.items():
            total = measure(network, encode(table, rows, encoder), config.eval_batch_size)
            metrics[part] = {"reconstruction_loss": total.loss, "baseline": total.baseline, "rows": total.rows}
        metrics["train"] |= {
            "seconds": fit.seconds,
            "epochs": fit.epochs,
            "best_epoch": fit.best_epoch,
            "rows_per_second": fit.rows * fit.epochs / fit.seconds,
            "peak_memory_bytes": peak_memory_bytes(),
        }
        run.write_provenance({**facts, "wall_seconds": time.perf_counter() - started})
        write_json(run.metrics_path, metrics)
        tracked.metrics(metrics)
        tracked.artifact("model", run.path, "checkpoints", "encoder", "config.yaml", "metrics.json")
        print("\nMean squared error of the reconstructed columns, each in units of its variance, nothing hidden:")
        print("1 is no better than each column's mean, 0 is perfect; constant columns lower the former\n")
        print(f"{'':5}  {'rows':>10}  {'reconstruction':>14}  {'column means':>12}")
        for part, values in metrics.items():
            loss, baseline = values["reconstruction_loss"], values["baseline"]
            print(f"{part:5}  {values['rows']:10,}  {loss:14.4f}  {baseline:12.4f}")
        print(f"\nrun folder: {run.path}")
        print(f"train from it: {to_type('train', literal('model.pretrained', run.path))}")


if __name__ == "__main__":
    main()
