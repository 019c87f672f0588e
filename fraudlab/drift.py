"""``python -m fraudlab.drift bundle=... records=... out=...``: is what is scored like what was learnt from?"""

from pathlib import Path

from fraudlab.cli import command
from fraudlab.config import DriftConfig


@command("drift")
def main(config: DriftConfig) -> None:
    from fraudlab.bundle import load
    from fraudlab.features.threads import cores
    from fraudlab.monitoring import rows
    from fraudlab.monitoring.drift import Reference, summary
    from fraudlab.monitoring.page import publish
    from fraudlab.monitoring.remote import fetched

    bundle = load(config.bundle)
    reference = Reference(bundle)
    left_out, others = dict[str, str](), 0
    start, stop = config.span()
    if config.records is not None:
        with fetched(config.records, start, stop) as folder:
            counts, left_out, others = rows.of_records(bundle, reference.cells, folder, start, stop)
        if others:
            print(f"left out {others:,} records of other bundles")
    elif config.input is not None:
        counts = rows.of_file(bundle, reference.cells, config.input, config.threads or cores())
    else:
        counts = rows.of_answers(reference.cells, bundle.version, [Path(file) for file in config.answers])
    if config.hours and start is not None:
        report = {**reference.of_hours(counts, left_out, config.hours, start), "others": others}
    else:
        report = reference.judge(counts, left_out)
    print(summary(report))
    publish(config.out, report, reference, counts)
    print(f"\nreport: {config.out}/drift.html, {config.out}/drift.json")


if __name__ == "__main__":
    main()
