"""The workflows of GitHub: what they run is what runs here, and tags start what they should."""

import re
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from gto import api

from tests.conftest import REPOSITORY
from tests.support import workflows
from tests.support.workflows import content

WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yaml"))


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
    own = {"RECORDS": "gs://b r", "HASH_SECRET": "$(touch made)", "METRICS_SECRET": "m", "SERVICE_ACCOUNT": "a"}
    workflow = (REPOSITORY / ".github" / "workflows" / "model.yaml").read_text()
    assert all(f"{key}: ${{{{ vars.{key} }}}}" in workflow for key in own)
    keys = ("records", "service.hash_secret", "service.metrics_secret", "service.service_account")
    for name, more in (("fraud", dict.fromkeys(own, "")), ("$(touch made)'\"`touch made`", own)):
        variables = {**workflows.outside_make(), **given, **more, "TAG": f"{name}#prod#3"}
        done = subprocess.run(
            ["make", "-s", "deploy"], cwd=tmp_path, env=variables, capture_output=True, text=True, check=True
        )
        expected = [f"name={name}", "alias=prod", "image=i", "region=r", "service.key_secret=k"]
        expected += [f"{key}={value}" for key, value in zip(keys, more.values(), strict=True) if value]
        assert done.stdout.splitlines()[3:] == expected
    assert not (tmp_path / "made").exists()


OWN = """
jobs:
  first:
    runs-on: ubuntu-24.04
    steps:
      - uses: actions/checkout@v4
      - run: make good WORD=a
        env: {GIVEN: b, UNKNOWN: "${{ vars.UNKNOWN }}"}
      - run: make bad
      - run: make deploy
  second:
    runs-on: ${{ matrix.os }}
    strategy: {matrix: {os: [windows-2025, ubuntu-24.04]}}
    steps:
      - run: make bad
  third:
    runs-on: macos-15
    steps:
      - run: make other
"""
MAKEFILE = """
good:
\t@test "$(WORD)$$GIVEN$$UNKNOWN" = ab && test ! -e changed
bad:
\t@exit 3
"""


def test_steps_of_workflows_run_in_a_fresh_clone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".github" / "workflows").mkdir(parents=True)
    (tmp_path / ".github" / "workflows" / "own.yaml").write_text(OWN)
    (tmp_path / "Makefile").write_text(MAKEFILE)
    own = "-c user.email=a@b -c user.name=a"
    for words in ("init -q", "add .", f"{own} commit -qm first"):
        subprocess.run(["git", *words.split()], cwd=tmp_path, check=True)
    (tmp_path / "changed").touch()  # which nobody has committed
    assert workflows.main(tmp_path, ["good"]) == 0
    assert workflows.main(tmp_path, []) == 1
    told = [re.split(r"\s{2,}", line) for line in capfd.readouterr().out.splitlines() if line.startswith("own/")]
    assert [(row[1], row[3]) for row in told[5:]] == [
        ("make good WORD=a", "passed"),
        ("make bad", "failed with status 2"),
        ("make deploy", "left out: needs a cloud"),
        ("make bad", "as in own/first: failed with status 2"),
        ("make other", "left out: not of Linux"),
    ]
