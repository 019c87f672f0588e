"""``python -m fraudlab.history``: put past transactions where a server finds them."""

from pathlib import Path

from fraudlab.cli import command
from fraudlab.config import HistoryConfig


@command("history")
def main(config: HistoryConfig) -> None:
    import polars as pl

    from fraudlab.errors import UserError
    from fraudlab.serving import history_file

    try:
        there = Path(config.transactions).is_file()  # a name with brackets is a name before it is a pattern
        transactions = pl.read_parquet(config.transactions, glob=not there)
    except pl.exceptions.PolarsError as error:
        raise UserError(f"cannot read {config.transactions} as Parquet: {error}") from error
    out = Path(config.out)
    rows = history_file.build(out, transactions)
    labelled = len(transactions) - transactions["TX_FRAUD"].null_count() if "TX_FRAUD" in transactions.columns else 0
    print(f"rows       {rows:,}")
    print(f"labels     {labelled:,}")
    print(f"written    {out} ({out.stat().st_size / 2**20:,.0f} MiB)")


if __name__ == "__main__":
    main()
