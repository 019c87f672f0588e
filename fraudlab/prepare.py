"""``python -m fraudlab.prepare``: fill the cache, and say what is in it."""

from dataclasses import replace
from pathlib import Path

from fraudlab.cli import command
from fraudlab.config import PrepareConfig


@command("prepare")
def main(config: PrepareConfig) -> None:
    from fraudlab.config.engine import engine_of
    from fraudlab.data.checks import warn_of
    from fraudlab.data.encoded import encode, fit_encoder
    from fraudlab.data.prepared import prepared_table
    from fraudlab.reporting.summary import drift_summary, table_summary, written_summary
    from fraudlab.training.auto import of_encoder

    with engine_of(config.engine, config.ray, config.plugins) as engine:
        data_dir = Path(config.paths.data_dir)
        place = data_dir.absolute() if engine.apart else data_dir  # workers are started in other folders
        table = prepared_table(
            config.data, config.features, config.label_delay_days, place, config.split, engine=engine
        )
    print("\n".join(table_summary(table)))
    if config.split is not None:
        split = table.split(config.split, config.label_delay_days)
        warn_of(table, split)
        first = split.selection_train if split.refit else split.train
        settings = replace(config.features.encoder, **of_encoder(config.features.encoder, len(first), "network"))
        encoder = fit_encoder(table, split.train, settings)
        if split.refit:  # a training fits twice
            chosen = fit_encoder(table, split.selection_train, settings)
            for rows in (split.selection_train, split.validation):
                encode(table, rows, chosen)
        parts = {"train": split.train, "val": split.validation, "test": split.test}
        arrays = {part: encode(table, rows, encoder) for part, rows in parts.items()}
        print(f"split      {', '.join(f'{len(rows):,} {part}' for part, rows in parts.items())} rows")
        print("\n".join(drift_summary(arrays["train"], encoder)))
    print("\n".join(written_summary(sorted(table.path.parent.glob(f"{table.path.name}*")))))


if __name__ == "__main__":
    main()
