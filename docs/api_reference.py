"""The page docs/reference/api.md, made of the docstrings of what the package offers to Python."""

import ast
import dataclasses
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

from page_tables import table

MODULES = ("fraudlab.api", "fraudlab.bundle", "fraudlab.sklearn")
MADE_BY_OTHERS = {"Bundle"}
"""Classes that nobody calls: a function of the same module gives them."""
_SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises):$")
_TITLES = {"Args": "Arguments"}
_ROLE = re.compile(r":(?:class|func|meth|mod|attr|data):`~?([^`]+)`")


def page(made: str, meanings: Any) -> str:
    """The page; ``made`` is the comment that says so, ``meanings`` gives those of a dataclass's fields."""
    lines = ["# Python API", "", made, "", "What is not on this page may change without notice.", ""]
    seen: dict[int, str] = {}
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        lines += [f"## {module_name}", "", *_markdown(inspect.getdoc(module) or ""), ""]
        for name in sorted(module.__all__, key=lambda name: inspect.isclass(getattr(module, name))):
            thing = getattr(module, name)
            if inspect.isclass(thing):
                lines += _of_class(module_name, name, thing, seen, meanings)
            else:
                lines += [
                    f"### {name}",
                    "",
                    *_code(_signature(name, thing)),
                    *_markdown(inspect.getdoc(thing) or ""),
                    "",
                ]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


def _of_class(module: str, name: str, thing: type, seen: dict[int, str], meanings: Any) -> Iterator[str]:
    """A class and its public members; what it shares with a class above it on the page is named there."""
    yield from (f"### {name}", "")
    fields = [each for each in dataclasses.fields(thing) if each.init] if _is_parameters(thing) else []
    if fields:
        yield from _code(f"{name}(**parameters)")
    elif "__init__" in vars(thing) and not dataclasses.is_dataclass(thing) and name not in MADE_BY_OTHERS:
        yield from _code(_signature(name, vars(thing)["__init__"]))
    yield from (*_markdown(inspect.getdoc(thing) or ""), "")
    if fields:
        said = meanings(thing)
        if first := seen.get(id(dataclasses.fields(thing)[0])):
            yield from (f"Parameters are those of [{first}](#{first.lower()}).", "")
        else:
            seen[id(dataclasses.fields(thing)[0])] = name
            rows = [(f"`{each.name}`", f"`{_plain(each.default)}`", said.get(each.name, "")) for each in fields]
            yield from table(["parameter", "default", ""], rows)
    shared: dict[str, list[str]] = {}
    for member, value in _members(thing):
        function = value.fget if isinstance(value, property) else value
        if above := seen.get(id(function)):
            shared.setdefault(above, []).append(f"`{member}`")
            continue
        seen[id(function)] = name
        title = f"{name}.{member}"
        shown = [] if isinstance(value, property) else _code(_signature(title, function))
        yield from (f"#### {title}", "", *shown, *_markdown(inspect.getdoc(function) or ""), "")
    for above, members in shared.items():
        yield from (f"As of [{above}](#{above.lower()}): {', '.join(members)}.", "")


def _is_parameters(thing: type) -> bool:
    return dataclasses.is_dataclass(thing) and not vars(thing).get("__dataclass_params__")


def _members(thing: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties that fraudlab defines and says something of."""
    found: dict[str, Any] = {}
    for each in thing.__mro__:
        if each.__module__.startswith("fraudlab."):
            found |= {name: value for name, value in vars(each).items() if name not in found}
    for name, value in found.items():
        function = value.fget if isinstance(value, property) else value
        if not name.startswith("_") and inspect.isfunction(function) and function.__doc__:
            yield name, value


def _signature(name: str, function: Any) -> str:
    """The signature as it is written, each argument on a line of its own where one line would be long."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(node, ast.FunctionDef)
    given = node.args
    plain: list[ast.expr | None] = [None] * (len(given.args) - len(given.defaults)) + list(given.defaults)
    found = [_argument(arg, default) for arg, default in zip(given.args, plain, strict=True) if arg.arg != "self"]
    if given.vararg:
        found.append(f"*{_argument(given.vararg, None)}")
    elif given.kwonlyargs:
        found.append("*")
    found += [_argument(arg, default) for arg, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    gives = f" -> {_type(node.returns)}" if node.returns and node.name != "__init__" else ""
    line = f"{name}({', '.join(found)}){gives}"
    return line if len(line) <= 100 else "\n".join([f"{name}(", *(f"    {each}," for each in found), f"){gives}"])


def _argument(arg: ast.arg, default: ast.expr | None) -> str:
    typed = f"{arg.arg}: {_type(arg.annotation)}" if arg.annotation else arg.arg
    return typed if default is None else f"{typed} = {ast.unparse(default)}"


def _type(annotation: ast.expr) -> str:
    return annotation.value if isinstance(annotation, ast.Constant) else ast.unparse(annotation)


def _code(text: str) -> list[str]:
    return ["```python", text, "```", ""]


def _markdown(docstring: str) -> Iterator[str]:
    """A docstring in Google's style as Markdown."""
    lines = iter([*_ROLE.sub(r"`\1`", docstring).replace("``", "`").splitlines(), ""])
    for line in lines:
        if section := _SECTION.match(line):
            yield from (f"**{_TITLES.get(section[1], section[1])}**", "")
            text = textwrap.dedent("\n".join(_until_blank(lines)))
            yield from [text] if section[1] in ("Returns", "Yields") else _items(text)
            yield ""
        elif line.startswith(">>>"):
            yield from ("```pycon", line, *_until_blank(lines), "```", "")
        else:
            yield line


def _until_blank(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if not line:
            return
        yield line


def _items(text: str) -> Iterator[str]:
    """What a section lists, an item a line."""
    for item in re.sub(r"\n +", " ", text).splitlines():
        name, _, meaning = item.partition(": ")
        yield f"- `{name}`: {meaning}"


def _plain(default: Any) -> str:
    return default.__name__ if isinstance(default, type) else repr(default)
