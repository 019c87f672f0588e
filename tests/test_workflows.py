"""The workflows of GitHub: what they run is what runs here, and tags start what they should."""

import os
import re
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml
from gto import api

from tests.conftest import REPOSITORY

WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yaml"))


def content(path: Path) -> dict[str, Any]:
    """A workflow; YAML 1.1 takes its key ``on`` for true."""
    found = yaml.safe_load(path.read_text())
    return {"on" if key is True else key: value for key, value in found.items()}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_each_step_is_a_target_of_make_or_a_pinned_action(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    found = content(path)
    assert found["permissions"] == {"contents": "read"}
    steps = [step for job in found["jobs"].values() for step in job["steps"]]
    for step in steps:
        if "run" in step:
            words = re.fullmatch(r"make ([a-z-]+)((?: [A-Z]+=[\w.-]+)*)", step["run"])
            assert words is not None, step["run"]
            assert words[1] in targets
        else:
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"])
    used = re.findall(r"uses: (\S+)(.*)", path.read_text())
    assert all(re.fullmatch(r" # v\d+\.\d+\.\d+", version) for _, version in used)
    for pattern in (found["on"].get("pull_request") or {}).get("paths", ()):
        assert list(REPOSITORY.glob(pattern)), pattern


def started(tag: str) -> set[str]:
    """The workflows that a pushed tag starts; of GitHub's patterns those used here mean what a shell's do."""
    patterns = {path.stem: (content(path)["on"].get("push") or {}).get("tags", ()) for path in WORKFLOWS}
    digits = {name: [each.replace("+", "*") for each in given] for name, given in patterns.items()}
    return {name for name, given in digits.items() if any(fnmatchcase(tag, pattern) for pattern in given)}


def test_tags_of_versions_and_stages_start_what_they_should(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    git("init", "-q")
    git("-c", "user.email=a@b", "-c", "user.name=a", "commit", "-q", "--allow-empty", "-m", "first")
    author = {"author": "a", "author_email": "a@b"}
    git("config", "user.email", "a@b")
    git("config", "user.name", "a")
    api.register(tmp_path, "fraud", "HEAD", version="v1.0.0", **author)
    api.assign(tmp_path, "fraud", "prod", version="v1.0.0", **author)
    git("tag", "v1.2.0")
    assert {tag: started(tag) for tag in git("tag").split()} == {
        "fraud#prod#1": {"model"},
        "fraud@v1.0.0": set(),  # a version alone changes nothing that is served
        "v1.2.0": {"images", "release"},
    }


def test_a_tag_is_taken_apart_and_never_run(tmp_path: Path) -> None:
    recipe = (REPOSITORY / "Makefile").read_text()
    body = re.search(r"^deploy:.*\n((?:\t.*\n)+)", recipe, re.MULTILINE)
    assert body is not None
    (tmp_path / "Makefile").write_text(f"BIN := .\ndeploy:\n{body[1]}")
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    given = {"IMAGE": "i", "REGION": "r", "KEY_SECRET": "k"}
    for name in ("fraud", "$(touch made)'\"`touch made`"):
        kept = {
            key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "ARGS")
        }
        variables = {**kept, **given, "TAG": f"{name}#prod#3"}
        done = subprocess.run(
            ["make", "-s", "deploy"], cwd=tmp_path, env=variables, capture_output=True, text=True, check=True
        )
        expected = [f"name={name}", "alias=prod", "image=i", "region=r", "service.key_secret=k"]
        assert done.stdout.splitlines()[3:] == expected
    assert not (tmp_path / "made").exists()
