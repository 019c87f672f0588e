"""Settings from the environment: ``FRAUDLAB_SERVING_<KEY>``, and ``PORT``, as containers are given them."""

import dataclasses
import difflib
import re
from collections.abc import Collection, Mapping
from typing import cast

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fraudlab.config.serve import ServingConfig
from fraudlab.errors import UserError

PREFIX = "FRAUDLAB_SERVING_"
_OF_KUBERNETES = re.compile(r"SERVICE_.*|PORT_\d+_.*")  # it sets these for a service that is called fraudlab-serving


def with_environment(settings: ServingConfig, environment: Mapping[str, str], typed: Collection[str]) -> ServingConfig:
    """``settings`` with what the environment says; what the user has typed stays.

    Args:
        settings: of files and command line.
        environment: variables and their values; a value is read as YAML.
        typed: keys that the command line names, without ``serving.``.

    Raises:
        UserError: a variable names no setting, or its value is none of that setting.
    """
    keys = {field.name: field for field in dataclasses.fields(ServingConfig)}
    given = {name.removeprefix(PREFIX): value for name, value in environment.items() if name.startswith(PREFIX)}
    given = {
        name: value
        for name, value in given.items()
        if not (_OF_KUBERNETES.fullmatch(name) or (name == "PORT" and value.startswith("tcp://")))
    }
    if "PORT" not in given and environment.get("PORT"):
        given["PORT"] = environment["PORT"]
    for name, value in given.items():
        key = name.lower()
        if key not in keys:
            near = difflib.get_close_matches(key, keys, n=1)
            meant = f" Did you mean {PREFIX}{near[0].upper()}?" if near else f" There are: {', '.join(keys)}"
            raise UserError(f"the environment's {PREFIX}{name} is no setting of serving.{meant}")
        if key in typed:
            continue
        variable = f"{PREFIX}{name}" if f"{PREFIX}{name}" in environment else name
        try:
            read = value if keys[key].type in (str, "str") else yaml.safe_load(value)
            merged = OmegaConf.merge(OmegaConf.structured(settings), {key: read})
            settings = cast(ServingConfig, OmegaConf.to_object(merged))  # which checks the value as a typed one
        except (OmegaConfBaseException, yaml.YAMLError) as error:
            raise UserError(f"the environment's {variable}={value}: {str(error).splitlines()[0]}") from None
        except UserError as error:
            raise UserError(f"the environment's {variable}={value}: {error}") from None
    return settings
