"""``python -m fraudlab.describe data.path=<file> [data.label=<column>]``: a table as YAML that trains, and a page."""

from pathlib import Path

from fraudlab.cli import command
from fraudlab.config import DescribeConfig
from fraudlab.config.composition import conf_dir
from fraudlab.config.overrides import literal, to_type


@command("describe", looks=False)
def main(config: DescribeConfig) -> None:
    from fraudlab.data.description.describe import describe
    from fraudlab.data.description.written import experiment, name_of
    from fraudlab.data.sources.table.database import shown
    from fraudlab.errors import UserError
    from fraudlab.files import write_text
    from fraudlab.reporting.description import description_table, write_description_page

    name = config.name or name_of(config.data.path)
    if (conf_dir() / "experiment" / f"{name}.yaml").is_file():  # which experiment=<name> would find
        if config.name:
            raise UserError(f"name={name} is an experiment of fraudlab itself; give another name")
        name = f"{name}_table"
    file, page = (Path(config.out) / "experiment" / f"{name}.yaml", Path(config.out) / f"{name}.html")
    found = describe(config.data, Path(config.paths.data_dir))
    if file.exists() and not config.replace:  # later than what is wrong with the table or its settings
        raise UserError(f"{file} exists; replace=true writes it anew, name=<another> beside it")
    use = to_type("train", "--config-dir", config.out, literal("experiment", name))
    write_text(file, experiment(found, use))
    if shown(config.data.path) != config.data.path:
        file.chmod(0o600)
    write_description_page(page, found, use)
    print(description_table(found))
    print(f"\nsettings   {file}\npage       {page}\nuse        {use}")


if __name__ == "__main__":
    main()
