"""``python -m fraudlab.challenger bundle=... records=... out=...``: which alerts would change, for the better?"""

from pathlib import Path

from fraudlab.cli import command
from fraudlab.config import ChallengerConfig


@command("challenger")
def main(config: ChallengerConfig) -> None:
    from fraudlab.bundle import load
    from fraudlab.monitoring import challenger
    from fraudlab.monitoring.challenger_page import write

    bundle = load(config.bundle)
    budget = bundle.decision.budget["high"] if config.budget is None else config.budget
    asked = challenger.Question(
        bundle, config.moment(), config.version, budget, config.mature_days, config.metric, config.looks
    )
    report, alerts = challenger.compare(Path(config.records), asked)
    print(challenger.summary(report))
    write(Path(config.out), report, alerts)
    print(f"\nreport: {config.out}/challenger.html, {config.out}/challenger.json, {config.out}/swap.csv")


if __name__ == "__main__":
    main()
