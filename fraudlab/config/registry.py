"""A family of exchangeable parts by name: those of fraudlab, imported when asked for, and those that plugins add."""

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Generic, TypeVar

from fraudlab.config.plugins import loading
from fraudlab.errors import UserError

Part = TypeVar("Part")


class Registry(Generic[Part]):
    """The parts of the config group ``group``.

    Args:
        group: as in ``group=<name>``.
        built_in: where each part of fraudlab stands, ``module:attribute``.
    """

    def __init__(self, group: str, built_in: Mapping[str, str]) -> None:
        self.group = group
        self._built_in = dict(built_in)
        self._added: dict[str, Part] = {}
        self._plugins: dict[str, str] = {}

    def __iter__(self) -> Iterator[str]:
        """The names, those of fraudlab first."""
        return iter((*self._built_in, *self._added))

    def __getitem__(self, name: str) -> Part:
        """The part of that name.

        Raises:
            UserError: there is none; the message says how a plugin is named.
        """
        if name in self._added:
            return self._added[name]
        if name not in self._built_in:
            raise UserError(unknown(self.group, name, self))
        part: Part = attribute(self._built_in[name])
        return part

    def add(self, name: str, part: Part, settings: type) -> None:
        """Make a part of a plugin known, or replace the plugin's own of the same name.

        Args:
            name: as in ``group=<name>``.
            part: what the family's contract asks for.
            settings: dataclass of the keys of ``<group>``, with a field ``name`` whose default is ``name``.

        Raises:
            UserError: fraudlab has a part of that name, or ``settings`` is not such a dataclass.
        """
        if name in self._built_in:
            raise UserError(f"{self.group}={name} is fraudlab's own; register your part under another name")
        defaults = {field.name: field.default for field in fields(settings)} if is_dataclass(settings) else {}
        if defaults.get("name") != name:
            raise UserError(
                f"{self.group}={name}: its settings must be a dataclass with the field name: str = {name!r}"
            )
        options: dict[str, type] = attribute(f"fraudlab.config.{self.group}:OPTIONS")
        options[name] = settings
        self._added[name] = part
        if (plugin := loading()) is not None:
            self._plugins[name] = plugin

    def plugins(self, name: str) -> list[str]:
        """What to name in ``plugins=[...]`` for the part of that name: the module that registered it, if one did."""
        return [self._plugins[name]] if name in self._plugins else []


def unknown(group: str, name: Any, known: Iterator[str] | Any) -> str:
    """What a name that no part has is refused with."""
    return (
        f"{group}={name} is not known; there are: {', '.join(known)}. If it comes from a plugin, name the module that "
        "registers it: plugins=[<module>]"
    )


def attribute(where: str) -> Any:
    """What stands at ``module:attribute``."""
    module, _, name = where.partition(":")
    return getattr(importlib.import_module(module), name)
