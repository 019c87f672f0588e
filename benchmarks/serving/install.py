"""How much ``pip install fraudlab[serve]`` puts on a disk, counted in the environment that is there."""

import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def closure(extra: str) -> set[str]:
    """Names of the distributions that the project with one extra needs, and those that they need."""
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    wanted = [Requirement(text) for text in [*project["dependencies"], *project["optional-dependencies"][extra]]]
    seen: set[tuple[str, str]] = set()
    while wanted:
        requirement = wanted.pop()
        for chosen in ("", *requirement.extras):
            if (key := (_name(requirement.name), chosen)) in seen:
                continue
            seen.add(key)
            further = [Requirement(text) for text in metadata.requires(requirement.name) or []]
            wanted += [r for r in further if r.marker is None or r.marker.evaluate({"extra": chosen})]
    return {name for name, _ in seen}


def megabytes(names: set[str]) -> dict[str, float]:
    """MB of the files of each distribution, largest first; compiled ``.pyc`` files count where pip made them."""
    sizes = {}
    for name in names:
        files = (Path(str(file.locate())) for file in metadata.files(name) or [])
        sizes[name] = sum(file.stat().st_size for file in files if file.is_file()) / 1e6
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def _name(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
