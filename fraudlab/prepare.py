"""``python -m fraudlab.prepare``: fill the cache, and say what is in it."""

from pathlib import Path

from fraudlab.cli import door
from fraudlab.config import PrepareConfig


@door("prepare")
def main(config: PrepareConfig) -> None:
    from fraudlab.data.prepared import prepared_table

    table = prepared_table(config.data, config.features, Path(config.paths.data_dir))
    label = table.column(table.schema.label)
    assert label is not None
    frauds = int(label.sum())
    print(f"rows       {len(label):,}")
    print(f"frauds     {frauds:,} ({frauds / len(label):.3%}){', simulated data' if table.schema.simulated else ''}")
    if (time := table.column(table.schema.time)) is not None:
        print(f"time       {time[0]} to {time[-1]}")
    print(f"inputs     {len(table.numeric)} numeric, {len(table.categorical)} categorical")
    print(f"written    {table.path} ({table.path.stat().st_size / 2**20:,.0f} MiB)")


if __name__ == "__main__":
    main()
