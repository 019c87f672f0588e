"""``python docs/generate.py [http://host:port]``: the pages of docs/reference, and the changelog as a page of the site.

They come from dataclasses, YAML, OpenAPI and docstrings, and from a server's metrics where its address is given.
docs/benchmarks.md comes from benchmarks/results.

What is said of a setting stands beside it, in ``conf/`` or in its dataclass; these pages gather it.
"""

import dataclasses
import inspect
import os
import re
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import api_reference
import benchmark_tables
import page_tables
import yaml
from prometheus_client.parser import text_string_to_metric_families

from fraudlab import bundle, config
from fraudlab.bundle.contract import served
from fraudlab.config.checks import MISSING
from fraudlab.config.composition import conf_dir
from fraudlab.config.serve import ServingConfig
from fraudlab.serving import openapi

REPOSITORY = Path(__file__).parents[1]
REFERENCE = Path(__file__).parent / "reference"
_BUNDLE = REPOSITORY / "tests" / "compat" / "fixtures" / "format_1" / "bundle_with_masks"
_LINE = re.compile(r"^( *)([\w/]+):(.*)$")
_MADE = "<!-- made by docs/generate.py: make docs -->"


def comments(path: Path) -> dict[str, str]:
    """What a YAML file says of each key, dotted: the comment behind it, or the lines above."""
    found: dict[str, str] = {}
    parents: list[tuple[int, str]] = []
    above: list[str] = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        if line.lstrip().startswith("#"):
            above.append(line.strip().lstrip("# "))
            continue
        match = _LINE.match(line)
        if match:
            depth = len(match[1])
            parents = [each for each in parents if each[0] < depth] + [(depth, match[2])]
            behind = re.search(r"(?:^|\s)# (.*)$", match[3])
            found[".".join(name for _, name in parents)] = behind[1] if behind else " ".join(above)
        above = []
    return found


def of_fields(schema: type) -> dict[str, str]:
    """What a dataclass says of its fields, in comments behind them."""
    found: dict[str, str] = {}
    for each in reversed(inspect.getmro(schema)):
        if dataclasses.is_dataclass(each):
            for line in inspect.getsource(each).splitlines():
                if match := re.match(r"    (\w+): [^#]*(?:# (.*))?$", line):
                    found[match[1]] = match[2] or found.get(match[1], "")
    return found


def settings(schema: type, said: dict[str, str], before: str = "") -> Iterator[tuple[str, str, str]]:
    """Key, default and meaning of each setting; those that are composed of groups are left out."""
    own = of_fields(schema)
    for field in dataclasses.fields(schema):
        if field.name == "name":
            continue
        key = f"{before}{field.name}"
        default = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
        if dataclasses.is_dataclass(default):
            yield from settings(type(default), said, f"{key}.")
        elif field.type is not Any:
            yield key, _written(default), said.get(key) or own.get(field.name, "")


def table(rows: Iterator[tuple[str, str, str]]) -> list[str]:
    """A table of settings."""
    cells = [(f"`{key}`", default, meaning) for key, default, meaning in rows]
    return page_tables.table(["setting", "default", "meaning"], cells) if cells else ["No settings.", ""]


def commands() -> str:
    lines = ["# Settings of the commands", "", _MADE, "",
             "Type them as `key=value` behind the command. Groups such as `model` and `data` have pages of their own:",
             "[settings of the groups](groups.md).", ""]  # fmt: skip
    for name, schema in sorted(config.COMMANDS.items()):
        said = comments(conf_dir() / f"{name}.yaml")
        lines += [f"## {name}", "", f"    python -m fraudlab.{name}", "", *table(settings(schema, said))]
    return "\n".join(lines)


def groups() -> str:
    lines = ["# Settings of the groups", "", _MADE, "",
             "`model=tabnet` chooses an option, `model.n_d=16` one of its settings.", ""]  # fmt: skip
    for group, options in sorted(config.SCHEMAS.items()):
        lines += [f"## {group}", ""]
        for option, schema in sorted(options.items()):
            path = conf_dir() / group / f"{option}.yaml"
            lines += [f"### {group}={option}", "", *_said(path), *table(settings(schema, comments(path)))]
        presets = sorted({path.stem for path in (conf_dir() / group).glob("*.yaml")} - set(options))
        lines += [f"Presets of these: {', '.join(f'`{group}={each}`' for each in presets)}.", ""] if presets else []
    return "\n".join(lines)


def http() -> str:
    loaded = bundle.load(_BUNDLE)
    shown = ServingConfig(history="history.sqlite", record_to="record")  # whose addresses are there too
    schema = served(loaded.schema, loaded.features, history=True)
    described = openapi.document(schema, shown, "version", keyed=True)
    lines = ["# HTTP API", "", _MADE, ""]
    lines += ["A server's own `/docs` and `/openapi.json` also have the schemas, with the fields of its bundle.", ""]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            lines += [f"## {method.upper()} {path}", "", operation["summary"], ""]
            if said := operation.get("description"):
                lines += [said, ""]
            parameters = [
                (f"`{each['name']}`", each["in"], _kind(each["schema"]))
                for each in (_resolved(described, each) for each in operation.get("parameters", ()))
            ]
            lines += page_tables.table(["parameter", "in", "value"], parameters) if parameters else []
            answers = [
                (status, _resolved(described, answer)["description"])
                for status, answer in operation["responses"].items()
            ]
            lines += page_tables.table(["answer", ""], answers)
    return "\n".join(lines)


def metrics(scrape: str) -> str:
    """The page of the metrics in an answer of ``GET /metrics``."""
    lines = ["# Metrics", "", _MADE, "", "What `GET /metrics` gives, in Prometheus's text format.", ""]
    rows = []
    for family in sorted(text_string_to_metric_families(scrape), key=lambda family: family.name):
        if not family.name.endswith("_created"):
            labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
            name = f"{family.name}_total" if family.type == "counter" else family.name
            named = ", ".join(f"`{label}`" for label in labels)
            rows.append((f"`{name}`", family.type, named, family.documentation))
    return "\n".join([*lines, *page_tables.table(["name", "kind", "labels", "meaning"], rows)])


def _said(path: Path) -> list[str]:
    """The comment at the head of an option's file."""
    head = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        if not line.startswith("#"):
            break
        head.append(line.lstrip("# "))
    return [" ".join(head), ""] if head else []


def _resolved(document: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    for name in part.get("$ref", "").split("/")[1:]:
        document = document[name]
    return document if "$ref" in part else part


def _kind(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    bounds = [str(schema[key]) for key in ("minimum", "maximum") if key in schema]
    return f"{schema.get('type', 'any')}{' ' + ' to '.join(bounds) if bounds else ''}"


def _written(default: Any) -> str:
    if default is dataclasses.MISSING or default is MISSING:
        return "must be given"
    return f"`{yaml.safe_dump(default, default_flow_style=True, width=10**6).splitlines()[0]}`"


def changelog() -> str:
    """``CHANGELOG.md`` as a page of the site, where only links within it and to other hosts lead somewhere."""
    text = (REPOSITORY / "CHANGELOG.md").read_text().replace("](docs/", "](")
    return re.sub(r"\[([^\]]+)\]\((?!http|[a-z_/]+\.md)[^)]*\)", r"\1", text)


def api() -> str:
    return api_reference.page(_MADE, of_fields)


def benchmarks() -> str:
    return benchmark_tables.page(_MADE, REPOSITORY)


PAGES = {
    "reference/commands": commands,
    "reference/groups": groups,
    "reference/http": http,
    "reference/api": api,
    "benchmarks": benchmarks,
}


if __name__ == "__main__":
    REFERENCE.mkdir(exist_ok=True)
    pages = {name: made() for name, made in PAGES.items()}
    if len(sys.argv) > 1:  # the address of a server, which has metrics
        asked = urllib.request.Request(f"{sys.argv[1]}/metrics", headers={"X-API-Key": os.environ["FRAUDLAB_API_KEY"]})
        with urllib.request.urlopen(asked, timeout=10) as answer:
            pages["reference/metrics"] = metrics(answer.read().decode())
    for name, content in pages.items():
        (REFERENCE.parent / f"{name}.md").write_text(content.rstrip() + "\n")
    (REFERENCE.parent / "changelog.md").write_text(changelog())  # of the site alone: git ignores it
    sys.stdout.write(f"docs: {', '.join(pages)}\n")
