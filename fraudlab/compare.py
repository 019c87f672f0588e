"""``python -m fraudlab.compare runs=<folder of runs>``: runs side by side, as a table, a page and JSON."""

from pathlib import Path

from fraudlab.cli import command
from fraudlab.config import CompareConfig


@command("compare")
def main(config: CompareConfig) -> None:
    from fraudlab.files import write_json
    from fraudlab.reporting.comparison import comparison_table, to_json, write_comparison_page
    from fraudlab.runs.comparison import find_runs, models, resampled

    compared = models(find_runs(config.runs), config.part)
    found = resampled(compared, config.group, config.resamples, config.confidence, config.seed)
    folder = Path(config.paths.output_dir)
    settings = {key: getattr(config, key) for key in ("part", "group", "resamples", "confidence", "seed")}
    write_json(folder / "compare.json", {**settings, **to_json(compared, found)})
    write_comparison_page(folder / "compare.html", compared, found, config.part, config.confidence)
    print(comparison_table(compared, found, config.part, config.confidence))
    print(f"\npage: {folder / 'compare.html'}")


if __name__ == "__main__":
    main()
