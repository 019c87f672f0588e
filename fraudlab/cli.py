"""How a door opens: Hydra composes the config, errors come out as one message, heavy imports come last."""

import difflib
import io
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fraudlab import config as schemas
from fraudlab.errors import UserError

HYDRA_VERSION_BASE = "1.3"


def conf_dir() -> Path:
    """The folder of YAML: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).parent
    checkout = package.parent / "conf"
    return checkout if (checkout / "train.yaml").is_file() else package / "conf"


def door(name: str) -> Callable[[Callable[[Any], None]], Callable[[], None]]:
    """Make ``main(config)`` the command ``python -m fraudlab.<name>``.

    ``main`` gets the typed config. A mistake of the user's, in the config or in ``main``, ends the command with one
    message on standard error and status 1; ``HYDRA_FULL_ERROR=1`` shows the traceback instead.
    """

    def decorate(main: Callable[[Any], None]) -> Callable[[], None]:
        def command() -> None:
            full_error = os.environ.get("HYDRA_FULL_ERROR") == "1"
            os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise, so that the message is ours to write

            def task(composed: DictConfig) -> None:
                if not full_error:
                    os.environ.pop("HYDRA_FULL_ERROR", None)
                with _one_message(name, full_error):
                    main(schemas.typed(name, composed))

            schemas.register()
            sys.argv += goes_with_the_data(name, sys.argv[1:])
            printed = io.StringIO()
            asks_help = {"--help", "-h"} & set(sys.argv)
            try:
                with _one_message(name, full_error), redirect_stdout(printed) if asks_help else nullcontext():
                    hydra.main(version_base=HYDRA_VERSION_BASE, config_path=str(conf_dir()), config_name=name)(task)()
            finally:
                # Schemas stand beside the options they type; only the options are for users.
                print(re.sub(r"\bbase_\w+(, |$)", "", printed.getvalue(), flags=re.MULTILINE), end="")

        return command

    return decorate


def goes_with_the_data(name: str, arguments: Sequence[str]) -> list[str]:
    """Overrides that ``data=<option>`` stands for besides, where the arguments name nothing else in their place.

    A door that has experiments takes the data's experiment; one that has none, its features and split.
    """
    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    goes_with = schemas.GOES_WITH.get(given.get("data", ""))
    if goes_with is None:
        return []
    primary: Any = OmegaConf.to_container(OmegaConf.load(conf_dir() / f"{name}.yaml"))
    groups = {group for item in primary["defaults"] if isinstance(item, dict) for group in item}
    wanted = ["experiment"] if "experiment" in groups else [group for group in goes_with if group in groups]
    return [f"{group}={goes_with[group]}" for group in wanted if group in goes_with and group not in given]


@contextmanager
def _one_message(name: str, full_error: bool) -> Iterator[None]:
    """End the process with one message on a mistake of the user's or a failing disk."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:  # first: one of Hydra's is an OSError
        if full_error:
            raise
        fail(explain(error, name, sys.argv[1:]))
    except (UserError, OSError) as error:
        if full_error:
            raise
        fail(_describe(error))
    except ValueError as error:
        if full_error or "Config group override" not in str(error):  # how Hydra refuses model=null
            raise
        fail(f"{error}; to leave a layer out, choose its option none (experiment=none, logger=none)")


def fail(message: str) -> None:
    """End the process with ``message`` and status 1."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(1)


def choices() -> dict[str, str]:
    """The option chosen in each config group, e.g. ``{"model": "tabnet", "experiment": "handbook"}``."""
    return {group: str(option) for group, option in HydraConfig.get().runtime.choices.items() if option is not None}


def overrides(*groups: str) -> list[str]:
    """What the command line says of these config groups, as it says it: ``["data=table", "data.path=t.csv"]``."""
    given = HydraConfig.get().overrides.task
    return [override for override in given if override.lstrip("+~").split("=")[0].split(".")[0] in groups]


def _describe(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f" {error.filename}" if error.filename else ""
        return f"cannot read or write{where}: {error.strerror}; check the path, its permissions and the free space"
    return str(error).strip()


def explain(error: Exception, name: str, arguments: Sequence[str]) -> str:
    """The nearest key or option to each one that does not exist, or else what Hydra said."""
    said = [_describe(error)] + ([_describe(error.__cause__)] if error.__cause__ is not None else [])
    lines = list(_nearest(name, arguments)) or list(dict.fromkeys(said))
    return "\n".join([*lines, f"See python -m fraudlab.{name} --help; HYDRA_FULL_ERROR=1 shows the traceback."])


def _nearest(name: str, arguments: Sequence[str]) -> Iterator[str]:
    overrides = [argument for argument in arguments if "=" in argument and not argument.startswith("-")]
    groups = {folder.name: sorted(file.stem for file in folder.glob("*.yaml")) for folder in conf_dir().iterdir()}
    wanted = [override.lstrip("+~").split("=", 1) for override in overrides]
    valid = [f"{key}={value}" for key, value in wanted if value in groups.get(key, ())]
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(conf_dir()), version_base=HYDRA_VERSION_BASE):
        try:
            composed = hydra.compose(name, valid)
        except (HydraException, OmegaConfBaseException):
            composed = hydra.compose(name)
    known = list(_keys(OmegaConf.to_container(composed)))
    for key, value in wanted:
        options = value.strip("[]").split(",")  # several of a list, or one after the other with --multirun
        if key in groups and groups[key] and not set(options) <= set(groups[key]):
            kind = f"{key}={value} does not exist; there are: {', '.join(groups[key])}"
            given, candidates = value, groups[key]
        elif key.split(".")[0] != "hydra" and key not in known and key not in groups:
            kind, given, candidates = f"{key} is no setting", key, known + list(groups)
        else:
            continue
        near = difflib.get_close_matches(given, sorted(set(candidates)), n=3, cutoff=0.5)
        yield f"{kind}." + (f" Did you mean {' or '.join(near)}?" if near else "")


def _keys(node: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        for key, child in node.items():
            yield f"{prefix}{key}"
            yield from _keys(child, f"{prefix}{key}.")
