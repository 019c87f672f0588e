"""``python -m fraudlab.history``: put past transactions where a server finds them."""

from pathlib import Path

from fraudlab.cli import command
from fraudlab.config import HistoryConfig


@command("history")
def main(config: HistoryConfig) -> None:
    import polars as pl

    from fraudlab import bundle as bundles
    from fraudlab.errors import UserError
    from fraudlab.features.live import live
    from fraudlab.features.narrow import NARROW, narrowed_rows
    from fraudlab.serving import history

    features = None
    try:
        there = Path(config.transactions).is_file()  # a name with brackets is a name before it is a pattern
        transactions = pl.read_parquet(config.transactions, glob=not there)
        if config.bundle is not None:
            bundle = bundles.load(config.bundle)
            features = live(bundle.features, f"bundle {bundle.path}")
            transactions = bundle.reading.of_table(transactions.lazy()).collect()
            if NARROW in bundle.lookups:
                narrow = transactions.select(c for c in bundle.lookups[NARROW].tolist() if c in transactions.columns)
                transactions = transactions.with_columns(narrowed_rows(narrow, bundle.lookups).get_columns())
    except pl.exceptions.PolarsError as error:
        raise UserError(
            f"cannot read transactions={config.transactions} as Parquet ({error}); make Parquet of another file first: "
            "polars.read_csv(<file>).write_parquet(<file>)"
        ) from error
    rows, labelled = history.build(config.out, transactions, features)
    made = history.History.open(config.out)
    print(f"rows       {rows:,}")
    print(f"labels     {labelled:,}")
    print(f"written    {made.shown}")
    for concern in made.concerns():
        print(f"warning    {concern}")


if __name__ == "__main__":
    main()
