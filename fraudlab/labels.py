"""``python -m fraudlab.labels``: tell a history which transactions were fraud."""

from pathlib import Path

from fraudlab.cli import command
from fraudlab.config import LabelsConfig


@command("labels")
def main(config: LabelsConfig) -> None:
    from fraudlab.serving import labels
    from fraudlab.serving.history import History

    rows = labels.checked(labels.read(Path(config.file)), config.source)
    history = History.open(config.to)
    told = history.tell(rows, skip_unknown=config.unknown == "skip")
    history.close()
    print(f"labels     {len(rows):,}")
    print(f"new        {told.new:,}")
    print(f"unknown    {told.unknown:,} (of transactions that the history has not)")


if __name__ == "__main__":
    main()
