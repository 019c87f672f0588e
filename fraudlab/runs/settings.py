"""The settings of a run as YAML, and back."""

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import yaml

from fraudlab.config import COMMANDS, SCHEMAS, EncoderConfig, FitConfig, SelectConfig
from fraudlab.config.plugins import require
from fraudlab.config.registry import unknown
from fraudlab.errors import UserError
from fraudlab.runs.folder import BLEND
from fraudlab.runs.formats import FORMAT, upgraded

_OUTPUT_DIR = "${paths.output_dir}"  # as conf/logger says it


def config_yaml(config: FitConfig | SelectConfig) -> str:
    """The resolved settings of a run as YAML, without what names its folder or says whether it goes on."""
    plain = asdict(config)
    output_dir = plain.pop("paths")["output_dir"]
    plain.pop("resume", None)
    plain.pop("moved", None)
    # Loggers write to the run folder, wherever it is moved.
    return yaml.safe_dump({"format": FORMAT, **_replaced(plain, output_dir, _OUTPUT_DIR)}, sort_keys=False)


def read_settings(path: Path) -> dict[str, Any]:
    """What :func:`config_yaml` wrote of this or an earlier version, as plain data.

    Raises:
        UserError: the file holds no settings, or a later version's.
    """
    try:
        plain = dict(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not the config of a run: {error}") from error
    require(plain.get("plugins") or (), path)
    return upgraded(plain, plain.pop("format", 1), path)


def written_format(path: Path) -> int:
    """The number of the format in which a run's settings were written."""
    return int((yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("format", 1))


def load_config(path: Path, command: str = "train") -> Any:
    """The settings that :func:`config_yaml` wrote, typed again: the dataclass of ``command``.

    Raises:
        UserError: the file is no config of a run of this version of fraudlab.
    """
    plain = _replaced(read_settings(path), _OUTPUT_DIR, str(path.parent))
    if plain.get("model", {}).get("name") == BLEND:
        raise UserError(f"{path.parent} is a blend, which has no training settings; name one of its runs")
    try:
        for group, options in SCHEMAS.items():
            if group not in {field.name for field in fields(COMMANDS[command])}:
                continue
            settings = plain[group]
            if settings["name"] not in options:
                raise UserError(f"{path}: {unknown(group, settings['name'], options)}")
            if group == "features":
                settings["encoder"] = EncoderConfig(**settings["encoder"])
            plain[group] = options[settings["name"]](**settings)
        return COMMANDS[command](**plain)
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is not a config that this version of fraudlab.{command} can read: {error}") from error


def _replaced(node: Any, old: str, new: str) -> Any:
    """Plain data with every value ``old`` replaced."""
    if isinstance(node, dict):
        return {key: _replaced(value, old, new) for key, value in node.items()}
    return new if node == old else node
