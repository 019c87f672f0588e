"""Plugins: modules of the user's own that register parts. A command imports them because it was told to, never a file.

A plugin is named by ``plugins=[my_module]``, or an installed package declares it in the entry-point group ``fraudlab``.
It is imported after composition and before typing.
"""

import importlib
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import entry_points

from fraudlab.errors import UserError

_LOADED: dict[str, None] = {}
_LOADING: list[str] = []  # the plugin that is being imported last


def load_plugins(named: Iterable[str]) -> None:
    """Import the plugins ``named`` and those of installed packages, each once.

    Raises:
        UserError: a plugin is not found, or its import fails.
    """
    _load_installed()
    for name in named:
        if name in _LOADED:
            continue
        _LOADING.append(name)
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and name.split(".")[0] == error.name.split(".")[0]:
                raise UserError(
                    f"plugins=[{name}]: there is no module {error.name}; start the command from the folder that holds "
                    "it, or name that folder in PYTHONPATH"
                ) from error
            raise UserError(f"plugins=[{name}] needs the package {error.name}; install it") from error
        except Exception as error:  # it is the user's code, which may raise what it likes
            raise UserError(f"plugins=[{name}] cannot be imported: {type(error).__name__}: {error}") from error
        finally:
            _LOADING.pop()
        _LOADED[name] = None


@cache
def _load_installed() -> None:
    for point in entry_points(group="fraudlab"):
        try:
            point.load()
        except Exception as error:
            raise UserError(
                f"the plugin {point.value} of an installed package cannot be imported: {type(error).__name__}: {error}"
            ) from error
        _LOADED[point.value.partition(":")[0]] = None


def loading() -> str | None:
    """Name of the plugin that is being imported because it was named; None where none is."""
    return _LOADING[-1] if _LOADING else None


def loaded() -> tuple[str, ...]:
    """Names of the plugins that were imported."""
    return tuple(_LOADED)


def require(named: Sequence[str], where: object) -> None:
    """Refuse to read ``where``, which was made with the plugins ``named``, unless the command named them too.

    Raises:
        UserError: one of them is not imported; the message says what to type.
    """
    if missing := [name for name in named if name not in _LOADED]:
        raise UserError(
            f"{where} was made with plugins, which run code of their own. If you trust them, add "
            f"plugins=[{','.join(missing)}]"
        )
