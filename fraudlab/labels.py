"""``python -m fraudlab.labels``: tell which transactions were fraud, or make a training table of what was told."""

from datetime import UTC, datetime
from pathlib import Path

from fraudlab.cli import command
from fraudlab.config import LabelsConfig
from fraudlab.config.overrides import literal, to_type


@command("labels")
def main(config: LabelsConfig) -> None:
    if config.records is not None and config.out is not None:
        make_table(config, Path(config.records), Path(config.out))
        return
    from fraudlab.monitoring import labels as record
    from fraudlab.monitoring.summary import label_lines
    from fraudlab.serving import labels
    from fraudlab.serving.history import History

    assert config.file is not None
    assert config.to is not None
    rows = labels.checked(labels.read(Path(config.file)), config.source)
    print(f"labels     {len(rows):,}")
    if Path(config.to).is_dir():
        record.append(Path(config.to), rows, "files")
        print(*label_lines(Path(config.to)), sep="\n")
        return
    history = History.open(config.to)
    told = history.tell(rows, skip_unknown=config.unknown == "skip")
    history.close()
    print(f"new        {told.new:,}")
    print(f"unknown    {told.unknown:,} (of transactions that the history has not)")


def make_table(config: LabelsConfig, folder: Path, out: Path) -> None:
    from fraudlab.monitoring.labels import Clock
    from fraudlab.monitoring.training import write_table

    moment = datetime.now(UTC) if config.as_of is None else datetime.fromisoformat(config.as_of)
    clock: Clock = "event_time" if config.clock == "event_time" else "told_at"
    made = write_table(folder, out, moment, clock, config.label_delay_days)
    print(f"rows       {made.rows:,}, {made.frauds:,} frauds")
    print(f"assumed    {made.assumed:,} genuine: nobody told anything of them for {config.label_delay_days} days")
    print(f"immature   {made.immature:,} left out: younger than {config.label_delay_days} days, told or not")
    print(f"written    {made.table}")
    print(f"use        {to_type('train', '--config-dir', str(out), literal('experiment', 'training'))}")


if __name__ == "__main__":
    main()
