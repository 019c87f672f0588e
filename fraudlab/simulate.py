"""``python -m fraudlab.simulate``: write made-up files in the form of a real data set, to read as one reads those."""

from pathlib import Path

from fraudlab.cli import command
from fraudlab.config import SimulateConfig
from fraudlab.config.overrides import literal, to_type


@command("simulate")
def main(config: SimulateConfig) -> None:
    from fraudlab.data.simulators import ieee_cis

    made = ieee_cis.simulate(
        Path(config.out), rows=config.rows, seed=config.seed, identity_share=config.identity_share, days=config.days
    )
    print(f"rows       {made.rows:,}, simulated data")
    print(f"frauds     {made.frauds:,} ({made.frauds / made.rows:.3%})")
    print(f"identity   {made.identity_rows:,} rows ({made.identity_rows / made.rows:.1%})")
    print(f"clients    {made.clients:,}")
    print(f"days       {made.days:,}")
    print(f"written    {made.folder} ({made.bytes:,} bytes)")
    print(f"use        {to_type('train', 'data=ieee_cis', literal('data.raw_dir', made.folder))}")


if __name__ == "__main__":
    main()
