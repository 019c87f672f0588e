"""How a command runs: Hydra composes the config, errors come out as one message, heavy imports come last."""

import argparse
import os
import select
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from fraudlab import config as schemas
from fraudlab.config.composition import HYDRA_VERSION_BASE, REFUSALS, conf_dir, config_dir, explain, help_page, recipe
from fraudlab.config.overrides import key_of, literal, to_type
from fraudlab.errors import UserError


def command(name: str, *, looks: bool = True) -> Callable[[Callable[[Any], None]], Callable[[], None]]:
    """Make ``main(config)`` the command ``python -m fraudlab.<name>``; if it ``looks``, its table is read before.

    ``main`` gets the typed config. A mistake of the user's, in the config or in ``main``, ends the command with one
    message on standard error and status 1; ``HYDRA_FULL_ERROR=1`` shows the traceback instead.
    """

    def decorate(main: Callable[[Any], None]) -> Callable[[], None]:
        def run() -> None:
            full_error = os.environ.get("HYDRA_FULL_ERROR") == "1"
            os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise, so that the message is ours to write

            def task(composed: DictConfig) -> None:
                _job(name, main, composed, full_error, looks)

            schemas.register()
            with _interrupted(name), _one_message(name, full_error):
                if {"--help", "-h"} & set(sys.argv):
                    print(help_page(name, _typed()[1]))
                    return
                hydra.main(version_base=HYDRA_VERSION_BASE, config_path=str(conf_dir()), config_name=name)(task)()

        return run

    return decorate


def _job(name: str, main: Callable[[Any], None], composed: DictConfig, full_error: bool, looks: bool) -> None:
    """Call ``main``; in a multirun this may be a process of its own, and Hydra hands its error to the first one."""
    alone = HydraConfig.get().mode == RunMode.RUN
    if alone and not full_error:
        os.environ.pop("HYDRA_FULL_ERROR", None)
    with _interrupted(name), _one_message(name, full_error) if alone else nullcontext():
        config = schemas.typed(name, composed)
        if looks and hasattr(config, "data") and not getattr(config, "resume", None):
            from fraudlab.data.sources.registry import look  # loads Polars, which --help does without

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
        go_on = f"; continue with: {to_type(name, literal('resume', folder))}" if begun else ""
        print(f"\nstopped by Ctrl-C{go_on}", file=sys.stderr)
        raise SystemExit(128 + signal.SIGINT) from None
    except SystemExit as ended:
        stopped = ended.code in (128 + signal.SIGINT, 128 + signal.SIGTERM)
        if stopped and HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
            print("the runs of this multirun after it were not started", file=sys.stderr)
        raise


@contextmanager
def _one_message(name: str, full_error: bool) -> Iterator[None]:
    """End the process with one message on a mistake of the user's or a failing disk, with none where nobody reads."""
    try:
        yield
        if sys.stdout is not None:  # as it is where a command starts with >&-
            sys.stdout.flush()
    except REFUSALS as error:  # first: one of Hydra's is an OSError
        if full_error:
            raise
        fail(explain(error, name, *_typed()))
    except (UserError, OSError) as error:
        if isinstance(error, BrokenPipeError) and _reader_has_gone():
            raise SystemExit(128 + signal.SIGPIPE) from None
        if full_error:
            raise
        fail(_describe(error))
    except ValueError as error:
        if full_error or "Config group override" not in str(error):  # how Hydra refuses model=null
            raise
        fail(f"{error}; to leave a layer out, choose its option none (experiment=none, logger=none)")


def _reader_has_gone() -> bool:
    """Whether nobody reads standard output any more, as before ``| head -1``; then what is left of it is dropped."""
    asked = select.poll()
    asked.register(sys.stdout, 0)  # errors are told unasked
    if not any(events & select.POLLERR for _, events in asked.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def _typed(line: Sequence[str] | None = None) -> tuple[list[str], str | None]:
    """The overrides and the ``--config-dir`` of a command line, this process's or another."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", "-cd")
    known, words = parser.parse_known_args(line)
    return [word for word in words if not word.startswith("-") and ("=" in word or "~" in word)], known.config_dir


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
    return shlex.join(["python", "-m", f"fraudlab.{settings.job.name}", *own_folder(), *settings.overrides.task])


def asked() -> dict[str, Any]:
    """What a run records of the command: its experiment and recipe, and what to type."""
    chosen = None if overrides("resume") else recipe()
    return {"experiment": choices().get("experiment"), "recipe": chosen, "command": command_line()}


def overrides(*groups: str) -> list[str]:
    """What the command line says of these config groups, or of all: ``["data=table", "data.path=t.csv"]``."""
    given = HydraConfig.get().overrides.task
    return _of(groups, given) if groups else list(given)


def _of(groups: Sequence[str], given: Sequence[str]) -> list[str]:
    return [word for word in given if key_of(word).split(".")[0] in groups]


def own_folder() -> list[str]:
    """The ``--config-dir`` of the command line, as another command takes it."""
    own = config_dir()
    return [] if own is None else ["--config-dir", own]


def same(*groups: str, begun: str | None = None) -> list[str]:
    """What another command is to be given to find the same in these config groups; not where the run lies.

    Args:
        groups: of the configuration.
        begun: the command that began the run, as ``run.json`` has it: a resumed run is not given its settings again.
    """
    folder, given = own_folder(), overrides(*groups)
    if begun is not None:
        words, own = _typed(shlex.split(begun))
        folder, given = [] if own is None else ["--config-dir", own], [*dict.fromkeys([*_of(groups, words), *given])]
    return [*folder, *(word for word in given if not word.startswith("paths.output_dir="))]


def _describe(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f" {error.filename}" if error.filename else ""
        return f"cannot read or write{where}: {error.strerror}; check the path, its permissions and the free space"
    return str(error).strip()


class SayHowToCompare(Callback):
    """Names the command that puts the runs side by side; of ``hydra.callbacks``."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        print(f"\nside by side: {to_type('compare', literal('runs', config.hydra.sweep.dir))}")
