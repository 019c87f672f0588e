"""How a command runs: Hydra composes the config, errors come out as one message, heavy imports come last."""

import difflib
import io
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fraudlab import config as schemas
from fraudlab.config.overrides import literal, to_type
from fraudlab.config.renamed import RENAMED
from fraudlab.errors import UserError

HYDRA_VERSION_BASE = "1.3"


def conf_dir() -> Path:
    """The folder of YAML: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).parent
    checkout = package.parent / "conf"
    return checkout if (checkout / "train.yaml").is_file() else package / "conf"


def command(name: str) -> Callable[[Callable[[Any], None]], Callable[[], None]]:
    """Make ``main(config)`` the command ``python -m fraudlab.<name>``.

    ``main`` gets the typed config. A mistake of the user's, in the config or in ``main``, ends the command with one
    message on standard error and status 1; ``HYDRA_FULL_ERROR=1`` shows the traceback instead.
    """

    def decorate(main: Callable[[Any], None]) -> Callable[[], None]:
        def run() -> None:
            full_error = os.environ.get("HYDRA_FULL_ERROR") == "1"
            os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise, so that the message is ours to write

            def task(composed: DictConfig) -> None:
                _job(name, main, composed, full_error)

            schemas.register()
            sys.argv += goes_with_the_data(name, sys.argv[1:]) + _run_folder(name)
            printed = io.StringIO()
            asks_help = {"--help", "-h"} & set(sys.argv)
            try:
                with (
                    _interrupted(name),
                    _one_message(name, full_error),
                    redirect_stdout(printed) if asks_help else nullcontext(),
                ):
                    hydra.main(version_base=HYDRA_VERSION_BASE, config_path=str(conf_dir()), config_name=name)(task)()
            finally:
                # Schemas stand beside the options they type; only the options are for users.
                print(re.sub(r"\bbase_\w+(, |$)", "", printed.getvalue(), flags=re.MULTILINE), end="")

        return run

    return decorate


def goes_with_the_data(name: str, arguments: Sequence[str]) -> list[str]:
    """Overrides that ``data=<option>`` stands for besides, where the arguments name nothing else in their place.

    A command that has experiments takes the data's experiment; one that has none, its features and split.
    """
    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    goes_with = schemas.GOES_WITH.get(given.get("data", ""))
    if goes_with is None:
        return []
    primary: Any = OmegaConf.to_container(OmegaConf.load(conf_dir() / f"{name}.yaml"))
    groups = {group for item in primary["defaults"] if isinstance(item, dict) for group in item}
    wanted = ["experiment"] if "experiment" in groups else [group for group in goes_with if group in groups]
    return [f"{group}={goes_with[group]}" for group in wanted if group in goes_with and group not in given]


def _job(name: str, main: Callable[[Any], None], composed: DictConfig, full_error: bool) -> None:
    """Call ``main``; in a multirun this may be a process of its own, and Hydra hands its error to the first one."""
    alone = HydraConfig.get().mode == RunMode.RUN
    if alone and not full_error:
        os.environ.pop("HYDRA_FULL_ERROR", None)
    with _interrupted(name), _one_message(name, full_error) if alone else nullcontext():
        config = schemas.typed(name, composed)
        if getattr(config, "data", None) is not None and not getattr(config, "resume", None):
            from fraudlab.data.sources.registry import look  # --help needs no table

            look(config.data, Path(config.paths.data_dir))
        main(config)


@contextmanager
def _interrupted(name: str) -> Iterator[None]:
    """End the process on Ctrl-C with one message, which says how to go on with a run that has begun, and status 130."""
    try:
        yield
    except KeyboardInterrupt:
        settings = HydraConfig.get() if HydraConfig.initialized() else None
        folder = Path(settings.runtime.output_dir) if settings else Path()
        begun = settings is not None and name in ("train", "pretrain") and (folder / "config.yaml").is_file()
        go_on = f"; go on with: {to_type(name, literal('resume', folder))}" if begun else ""
        print(f"\nstopped by Ctrl-C{go_on}", file=sys.stderr)
        raise SystemExit(128 + signal.SIGINT) from None
    except SystemExit as ended:
        stopped = ended.code in (128 + signal.SIGINT, 128 + signal.SIGTERM)
        if stopped and HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
            print("the runs of this multirun after it were not started", file=sys.stderr)
        raise


def _run_folder(name: str) -> list[str]:
    """The run folder of a command that is to go on with a run: the one of that run."""
    given = dict(argument.split("=", 1) for argument in sys.argv[1:] if "=" in argument)
    folder = given.get("resume")
    processes = int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_NTASKS") or 1)
    if processes > 1 and name in ("train", "pretrain") and not (folder or "hydra.run.dir" in given):
        # Each would name a folder by the second in which it started.
        fail(f"{processes} processes share one run folder: name it, hydra.run.dir=outputs/{name}/<any name>")
    if not folder or "hydra.run.dir" in given:
        return []
    if not (Path(folder.strip("'\"")) / "config.yaml").is_file():  # before Hydra makes a folder there
        fail(f"resume={folder}: {folder} is no run folder (it has no config.yaml); the runs here are in outputs/train/")
    return [f"hydra.run.dir={folder}"]


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


def command_line() -> str:
    """What to type for this run alone, also where it is one of a multirun, perhaps in a launcher's process."""
    settings = HydraConfig.get()
    if settings.mode == RunMode.RUN:
        return shlex.join([Path(sys.executable).name, *sys.orig_argv[1:]])
    added = [source.path for source in settings.runtime.config_sources if source.provider == "command-line"]
    where = [word for path in added for word in ("--config-dir", path)]
    return shlex.join(["python", "-m", f"fraudlab.{settings.job.name}", *where, *settings.overrides.task])


def asked() -> dict[str, Any]:
    """What a run records of the command: its experiment, and what to type."""
    return {"experiment": choices().get("experiment"), "command": command_line()}


def overrides(*groups: str) -> list[str]:
    """What the command line says of these config groups, or of all: ``["data=table", "data.path=t.csv"]``."""
    given = HydraConfig.get().overrides.task
    return [o for o in given if not groups or o.lstrip("+~").split("=")[0].split(".")[0] in groups]


def _describe(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f" {error.filename}" if error.filename else ""
        return f"cannot read or write{where}: {error.strerror}; check the path, its permissions and the free space"
    return str(error).strip()


def explain(error: Exception, name: str, arguments: Sequence[str]) -> str:
    """The nearest key or option to each one that does not exist, or else what Hydra said."""
    said = [_describe(error)] + ([_describe(error.__cause__)] if error.__cause__ is not None else [])
    keys = re.findall(r"full_key: (\S+)", "\n".join(said))  # as OmegaConf names what it cannot set
    lines = list(_nearest(name, arguments, keys)) or list(dict.fromkeys(said))
    if any("'hydra/launcher/" in line for line in lines):
        lines.append("The launchers joblib, submitit_local, submitit_slurm come with: pip install 'fraudlab[launch]'")
    return "\n".join([*lines, f"See python -m fraudlab.{name} --help; HYDRA_FULL_ERROR=1 shows the traceback."])


def _nearest(name: str, arguments: Sequence[str], refused: Sequence[str]) -> Iterator[str]:
    """What does not exist of ``arguments`` and of the keys ``refused``, which may stand in the user's own YAML."""
    overrides = [word for word in arguments if ("=" in word or word.startswith("~")) and not word.startswith("-")]
    groups = {folder.name: sorted(file.stem for file in folder.glob("*.yaml")) for folder in conf_dir().iterdir()}
    wanted = [override.lstrip("+~").partition("=")[::2] for override in overrides]
    wanted += [(key, "") for key in refused if key not in dict(wanted)]
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
        if key in RENAMED:
            yield f"{key} is called {RENAMED[key]} now."
            continue
        # Where a key is refused, Hydra has found every option, those in the user's own --config-dir too.
        if not refused and key in groups and groups[key] and not set(options) <= set(groups[key]):
            kind = f"{key}={value} does not exist; there are: {', '.join(groups[key])}"
            given, candidates = value, groups[key]
        elif re.split("[./]", key)[0] != "hydra" and key not in known and key not in groups:
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


class SayHowToCompare(Callback):
    """Names the command that puts the runs side by side; of ``hydra.callbacks``."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        print(f"\nside by side: {to_type('compare', literal('runs', config.hydra.sweep.dir))}")
