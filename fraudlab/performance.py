"""``python -m fraudlab.performance bundle=... records=... mature_days=... out=...``: how well alerts were, by week."""

from pathlib import Path

from fraudlab.cli import command
from fraudlab.config import PerformanceConfig


@command("performance")
def main(config: PerformanceConfig) -> None:
    from fraudlab.bundle import load
    from fraudlab.monitoring import kept, performance
    from fraudlab.monitoring.performance_page import write

    bundle = load(config.bundle)
    amount = next((field["name"] for field in bundle.schema["fields"] if field["role"] == "amount"), None)
    asked = performance.Question(
        config.moment(), config.mature_days, config.clock, amount, config.admin_cost, config.recovery_share, bundle
    )
    records = Path(config.records)
    report = performance.performance(records, asked)
    if config.keep:
        kept.keep(records, report)
    print(performance.summary(report))
    write(Path(config.out), report)
    print(f"\nreport: {config.out}/performance.html, {config.out}/performance.json")


if __name__ == "__main__":
    main()
