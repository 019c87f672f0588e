"""What the documents say of the package is so."""

import re

from tests.conftest import REPOSITORY


def test_the_architecture_names_every_package_and_module_at_the_top() -> None:
    package = REPOSITORY / "fraudlab"
    there = {path.stem for path in package.glob("*.py")} | {path.parent.name for path in package.glob("*/__init__.py")}
    table = re.findall(r"^\| `([^|]+)` \|", (REPOSITORY / "docs" / "architecture.md").read_text(), re.MULTILINE)
    assert {name for names in table for name in names.split()} == there - {"__init__"}
