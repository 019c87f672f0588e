"""``python -m fraudlab.backtest``: a training moved through time, tested window by window."""

from pathlib import Path

from fraudlab.cli import asked, command, overrides
from fraudlab.config import BacktestConfig


@command("backtest")
def main(config: BacktestConfig) -> None:
    from fraudlab.backtesting.plan import begin, check
    from fraudlab.backtesting.run import run
    from fraudlab.backtesting.workers import alone
    from fraudlab.data.sources.registry import load_source
    from fraudlab.reporting.backtest import backtest_table, write_backtest_page
    from fraudlab.reporting.report import write_report

    check(config, overrides())
    folder = Path(config.paths.output_dir)
    with alone(folder):
        source = load_source(config.data, Path(config.paths.data_dir))
        facts = asked()
        try:
            backtest = begin(config, source, facts)
            found = run(backtest, source)
        except (KeyboardInterrupt, SystemExit):
            print("\nthe same command goes on from here")
            raise
        for step in backtest.steps if config.report else ():
            write_report(backtest.run(step))
        write_backtest_page(folder / "backtest.html", found, {**facts, "seed": config.seed})
        print(f"\n{backtest_table(found)}\n\npage: {folder / 'backtest.html'}")


if __name__ == "__main__":
    main()
