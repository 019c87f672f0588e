"""``python -m fraudlab.export run=<folder>``: the tested model of a run as a bundle to be served."""

from pathlib import Path
from typing import TYPE_CHECKING

from fraudlab.cli import command
from fraudlab.config import ExportConfig

if TYPE_CHECKING:
    from fraudlab.bundle import Bundle


@command("export")
def main(config: ExportConfig) -> None:
    from fraudlab.bundle.summary import summary

    bundle = run_export(config)
    print(summary(bundle))
    print(f"\nbundle: {bundle.path}")


def run_export(config: ExportConfig) -> "Bundle":
    """Write the bundle, and send it to where the run is tracked."""
    from fraudlab.exporter.writer import export
    from fraudlab.runs.folder import RunFolder
    from fraudlab.runs.settings import load_config
    from fraudlab.training import tracking
    from fraudlab.training.trainer import use_threads

    use_threads(0)
    run = RunFolder.find(Path(config.run))
    bundle = export(config, run, Path(config.out) if config.out else run.path / "bundle")
    with tracking.go_on(load_config(run.settled_by.config_path).logger, run) as tracked:
        tracked.artifact("bundle", bundle.path)
    return bundle


if __name__ == "__main__":
    main()
