"""Composition by Hydra alone: where its YAML lies, what it chooses by default, and why it refuses.

After :func:`fraudlab.config.register`, ``hydra.compose("train", ["data=ieee_cis"])`` gives in a notebook, or wherever
Hydra is initialised, the config that ``python -m fraudlab.train data=ieee_cis`` has.
"""

import difflib
import glob
import logging
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import environ
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fraudlab.config.launcher import RayLauncher
from fraudlab.config.overrides import key_of, literal, literal_text
from fraudlab.config.renamed import GONE, RENAMED
from fraudlab.errors import UserError

log = logging.getLogger(__name__)

HYDRA_VERSION_BASE = "1.3"
REFUSALS = (HydraException, OmegaConfBaseException, yaml.YAMLError)
"""What Hydra refuses settings with; :func:`explain` tells it."""

_HANDBOOK = {"data": "handbook", "features": "handbook", "split": "time_windows", "experiment": "handbook_book"}
_IEEE_CIS = {"data": "ieee_cis", "features": "ieee_cis", "split": "four_months_gap", "experiment": "ieee_cis"}
_GOES_WITH = {
    "data": {"ieee_cis": _IEEE_CIS, "ieee_cis_simulated": _IEEE_CIS},
    "experiment": {"ieee_cis": _IEEE_CIS},
}
"""Options that go together with one that was chosen."""


def conf_dir() -> Path:
    """The folder of YAML: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).parents[1]
    checkout = package.parent / "conf"
    return checkout if (checkout / "train.yaml").is_file() else package / "conf"


class _Conf(SearchPathPlugin):
    """Makes :func:`conf_dir` known to every Hydra of this process."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append("fraudlab", f"file://{conf_dir()}")


def register() -> None:
    """Make the folder of YAML and the resolvers that it uses known to Hydra."""
    for plugin in (_Conf, RayLauncher):
        Plugins.instance().register(plugin)
    OmegaConf.register_new_resolver("stem", lambda path: Path(path).stem, replace=True)
    OmegaConf.register_new_resolver("default", _default, replace=True)
    OmegaConf.register_new_resolver("run_folder", _run_folder, replace=True)


def _default(group: str, *, _root_: DictConfig) -> str:
    """``${default:<group>}`` of a defaults list: the option that goes with what is chosen in other groups."""
    chosen = OmegaConf.to_container(_root_, resolve=False)
    assert isinstance(chosen, dict)
    together = next(
        (goes_with[chosen[by]] for by, goes_with in _GOES_WITH.items() if chosen.get(by) in goes_with), _HANDBOOK
    )
    if group == "recipe":
        return f"{chosen.get('experiment') or together['experiment']}/{chosen.get('model')}"
    return together[group]


def _run_folder(command: str, resume: str | None, now: str) -> str:
    """``${run_folder:<command>,${resume},<time>}``: that of the run to go on with, or a new one."""
    if resume:
        if not (Path(resume) / "config.yaml").is_file():  # before Hydra makes a folder there
            raise UserError(
                f"resume={resume}: {resume} is not a run folder (it has no config.yaml); the runs here are in "
                f"outputs/{command}/"
            )
        return resume
    processes = int(environ.get("WORLD_SIZE") or environ.get("SLURM_NTASKS") or 1)
    if processes > 1:
        # Each would name a folder by the second in which it started.
        raise UserError(
            f"{processes} processes share one run folder: name it, hydra.run.dir=outputs/{command}/<any name>"
        )
    return f"outputs/{command}/{now}"


@contextmanager
def initialized(config_dir: str | None = None) -> Iterator[None]:
    """A Hydra that knows fraudlab's YAML and that of ``config_dir``, in the place of the present one if any."""
    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        folder = Path(config_dir) if config_dir and Path(config_dir).is_dir() else conf_dir()
        with hydra.initialize_config_dir(str(folder.absolute()), version_base=HYDRA_VERSION_BASE):
            yield
    finally:
        GlobalHydra.instance().hydra = before


def compose(command: str, overrides: Sequence[str], config_dir: str | None = None) -> DictConfig:
    """The config of ``python -m fraudlab.<command> <overrides>``, with Hydra's own under ``hydra``.

    ``paths.output_dir`` is to be given among the overrides: only a command has a run folder.

    Args:
        command: e.g. ``train``.
        overrides: as on the command line, e.g. ``["model=mlp", "seed=1"]``.
        config_dir: the folder that ``--config-dir`` would name.

    Raises:
        UserError: a setting does not exist or cannot have its value; the nearest key is named.
    """
    if config_dir and not Path(config_dir).is_dir():
        raise UserError(f"there is no folder {config_dir}; config_dir names one of YAML, such as that of experiment/")
    added = [] if config_dir is None else [f"file://{Path(config_dir).absolute()}"]
    words = [*overrides, *(f"hydra.searchpath=[{literal_text(folder)}]" for folder in added)]
    try:
        with initialized():
            return hydra.compose(command, words, return_hydra_config=True)
    except REFUSALS as error:
        raise UserError(explain(error, command, overrides, config_dir)) from error


def without_hydra(composed: DictConfig) -> DictConfig:
    """A command's own settings, of what :func:`compose` gave."""
    return OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])


def config_dir() -> str | None:
    """The folder that this command's ``--config-dir`` names."""
    for source in HydraConfig.get().runtime.config_sources if HydraConfig.initialized() else ():
        if source.provider == "command-line":
            return str(source.path)
    return None


def help_page(command: str, config_dir: str | None = None) -> str:
    """What ``python -m fraudlab.<command> --help`` prints.

    Hydra's own page takes two seconds more, most of them for a list of groups in which the schemas stand too.
    """
    page: str = compose(command, [], config_dir).hydra.help.template
    options: dict[str, set[str]] = {}
    for folder in (conf_dir(), *([Path(config_dir)] if config_dir else [])):
        for file in folder.glob("*/**/*.yaml"):
            group = file.parent.relative_to(folder).as_posix()
            if not group.startswith("hydra"):
                options.setdefault(group, set()).add(file.stem)
    choices = "\n".join(f"{group}: {', '.join(sorted(names))}" for group, names in sorted(options.items()))
    return page.replace("$APP_CONFIG_GROUPS", choices)


def recipe() -> str | None:
    """Which recipe this command's settings have, ``<experiment>/<model>``; None where there is none. Logs it."""
    runtime = HydraConfig.get().runtime
    named: str | None = runtime.choices.get("recipe")  # Hydra names it whether or not it is there
    folders = [Path(source.path) for source in runtime.config_sources if source.schema == "file"]
    if any((folder / "recipe" / f"{named}.yaml").is_file() for folder in folders):
        log.info("recipe %s: conf/recipe/%s.yaml", named, named)
        return named
    log.info(
        "no recipe for experiment=%s and model=%s: the settings of the groups and of the experiment hold",
        runtime.choices.get("experiment"),
        runtime.choices.get("model"),
    )
    return None


def explain(error: Exception, command: str, overrides: Sequence[str], config_dir: str | None = None) -> str:
    """Why Hydra refuses, and what may have been meant.

    Args:
        error: one of :data:`REFUSALS`.
        command: whose settings.
        overrides: what was typed.
        config_dir: what ``--config-dir`` names.
    """
    of_resolver = f"{UserError.__name__} raised while resolving interpolation: "
    if of_resolver in str(error):
        return _said(error)[0].partition(of_resolver)[2]
    if isinstance(error, yaml.YAMLError):
        return _no_yaml(error)
    causes = [error, *([error.__cause__] if error.__cause__ else [])]
    lines = list(dict.fromkeys(line for cause in causes for line in _said(cause)))
    if isinstance(error, OverrideParseException):
        lines += _quoting(error.override)
    elif isinstance(error, MissingConfigException) and error.missing_cfg_file:
        options = [str(option) for option in error.options or () if not str(option).startswith("base_")]
        lines = [lines[0] + (f"; there are: {', '.join(options)}" if options else "")]
        own = [] if config_dir else sorted(Path().glob(f"*/{glob.escape(error.missing_cfg_file)}.yaml"))
        lines += [f"{file} is there: add --config-dir {shlex.quote(file.parts[0])}" for file in own[:1]]
        lines += [] if own else _nearest(Path(error.missing_cfg_file).name, options)
    else:
        lines += _keys_meant(causes, command, overrides, config_dir)
    if any("'hydra/launcher/" in line for line in lines):
        lines.append(
            "The launchers joblib, submitit_local, submitit_slurm come with: pip install 'fraudlab[launch]'; ray with: "
            "pip install 'fraudlab[ray]'"
        )
    return "\n".join([*lines, f"See python -m fraudlab.{command} --help; HYDRA_FULL_ERROR=1 shows the traceback."])


def _no_yaml(error: yaml.YAMLError) -> str:
    """Where a file is no YAML, and why."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return f"no YAML: {' '.join(str(error).split())}"
    why = " ".join(str(part) for part in (getattr(error, "context", None), getattr(error, "problem", None)) if part)
    return f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}: no YAML: {why}"


def _said(error: BaseException) -> list[str]:
    """The words of Hydra or OmegaConf without what is for its developers, or wrong here: +key adds no setting."""
    noise = re.compile(r"\s*(full_key: |object_type=|reference_type=|To append to your |\Z)")
    words = [line.rstrip() for line in str(error).splitlines() if not noise.match(line)]
    key = re.search(r"full_key: (\S+)", str(error))
    return [f"{key[1]}: {words[0]}", *words[1:]] if key and words and key[1] not in words[0] else words


def _quoting(override: str) -> list[str]:
    """How to type an override that Hydra's grammar refuses, so that its value is taken as it is."""
    key, equals, value = override.partition("=")
    typed = literal(key, value)
    try:
        OverridesParser.create().parse_override(typed)
    except HydraException:
        return []
    return [f"To have the value as it is, type {shlex.quote(typed)}"] if equals else []


def _keys_meant(
    causes: Sequence[BaseException], command: str, overrides: Sequence[str], config_dir: str | None
) -> Iterator[str]:
    """For each key that does not exist: its new name, or the nearest keys of the config without it."""
    refused = _refused(causes)
    known: list[str] = []
    with initialized(config_dir):
        left = list(overrides)
        while not known:
            left = [override for override in left if key_of(override) not in refused]
            try:
                known = [*_keys(OmegaConf.to_container(hydra.compose(command, left)))]
            except REFUSALS as error:
                more = [key for key in _refused([error, error.__cause__]) if key not in refused]
                if not any(key_of(override) in more for override in left):  # it stands in YAML, or is no key
                    known = [*_keys(OmegaConf.to_container(hydra.compose(command)))]
                refused += more
        groups = GlobalHydra.instance().config_loader().list_groups("")
    elsewhere = _of_other_options(known)
    of_a_run = "resume" not in known or any(key_of(override) == "resume" for override in overrides)
    for key in refused:
        place = key.replace("data.", "moved.", 1)
        if key in RENAMED:
            yield f"{key} is called {RENAMED[key]} now."
        elif key in GONE:
            yield f"{key} is gone: {GONE[key]}; leave it out."
        elif place != key and place in known and of_a_run:
            yield f"Where the data of a run lie now, {place}= says."
        elif key not in known and not key.startswith("hydra."):
            yield from _nearest(key, [*known, *groups], f"{key} is no setting. ", elsewhere)


def _refused(causes: Sequence[BaseException | None]) -> list[str]:
    """The whole keys that Hydra's words name."""
    named = r"full_key: (\S+)|Could not override '(\S+)'|Could not delete from config\. '(\S+)'"
    found = (key for cause in causes for keys in re.findall(named, str(cause)) for key in keys if key)
    return list(dict.fromkeys(found))


def _of_other_options(known: Sequence[str]) -> dict[str, str]:
    """The settings that only options not chosen have, such as ``model.dropout``, each with what to choose for it."""
    found: dict[str, list[str]] = {}
    for group, options in ConfigStore.instance().repo.items():
        for file, stored in options.items() if isinstance(options, dict) else ():
            for key in stored.node or () if file.startswith("base_") else ():
                if f"{group}.{key}" not in known:
                    found.setdefault(f"{group}.{key}", []).append(file.removeprefix("base_").removesuffix(".yaml"))
    return {key: f" (of {key.partition('.')[0]}={' or '.join(sorted(names))})" for key, names in found.items()}


def _nearest(
    given: str, candidates: Sequence[str], before: str = "", elsewhere: Mapping[str, str] | None = None
) -> Iterator[str]:
    elsewhere = elsewhere or {}
    near = difflib.get_close_matches(given, sorted({*candidates, *elsewhere}), n=3, cutoff=0.5)
    if near or before:
        meant = " or ".join(f"{key}{elsewhere.get(key, '')}" for key in near)
        yield (before + (f"Did you mean {meant}?" if near else "")).strip()


def _keys(node: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        for key, child in node.items():
            yield f"{prefix}{key}"
            yield from _keys(child, f"{prefix}{key}.")
