"""``python -m fraudlab.select``: which features do not last or repeat others, as a report and as settings."""

from pathlib import Path
from typing import Any

from fraudlab.cli import choices, command, command_line, overrides
from fraudlab.config import SelectConfig
from fraudlab.config.composition import config_dir
from fraudlab.config.overrides import literal_text, to_type


@command("select")
def main(config: SelectConfig) -> None:
    import yaml

    from fraudlab.data.prepared import prepared_table
    from fraudlab.feature_selection.selection import select
    from fraudlab.files import write_json, write_text
    from fraudlab.reporting.selection import selection_table, write_selection_report
    from fraudlab.runs.folder import RunFolder
    from fraudlab.runs.settings import config_yaml

    run = RunFolder.start(Path(config.paths.output_dir), config_yaml(config))
    table = prepared_table(
        config.data, config.features, config.label_delay_days, Path(config.paths.data_dir), config.split
    )
    limits = {key: getattr(config, key) for key in ("days", "least_auc", "correlation", "among")}
    selection = select(table, table.split(config.split, config.label_delay_days).selection_train, **limits)

    # With what was left out before, which train is told by the file alone.
    settings = {"features": {"leave_out": [*dict.fromkeys([*_left_out(config.features), *selection.leave_out])]}}
    leave_out = run.path / "local" / "leave_out.yaml"
    write_text(leave_out, "# @package _global_\n" + yaml.safe_dump(settings, sort_keys=False))
    given = overrides("data", "features", "split", "label_delay_days", "plugins", "paths")
    same = [word for word in given if not word.lstrip("+").startswith(("features.leave_out=", "paths.output_dir="))]
    if own := config_dir():  # a command takes one --config-dir alone
        same.append(f"hydra.searchpath=[{literal_text(f'file://{own}')}]")
    use = to_type("train", "--config-dir", str(run.path), *same, f"local={leave_out.stem}")
    simulated = table.schema.simulated
    chosen = {group: choices()[group] for group in ("data", "features", "split")}
    page = run.path / "selection.html"
    write_selection_report(page, selection, {**chosen, **limits}, simulated=simulated, use=use)
    facts = {"simulated": simulated, "data_fingerprint": table.data_fingerprint, "command": command_line()}
    run.write_provenance({**chosen, **facts})
    write_json(run.path / "selection.json", {"simulated": simulated, **limits, **selection.to_dict()})
    print(selection_table(selection, simulated=simulated))
    print(f"\nreport     {page}\nsettings   {leave_out}\nuse        {use}")


def _left_out(features: Any) -> list[str]:
    return list(getattr(features, "leave_out", []))


if __name__ == "__main__":
    main()
