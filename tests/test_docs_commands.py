"""Every block of code in the README and the documents is run or checked, or marked as output or as not run.

Blocks of ``text`` are output, drawings and files of no language. A title ``not run: <what it needs>`` marks commands of
others. Every command of fraudlab is composed and typed as it stands; the tutorial's are run, on a small table.
"""

import argparse
import contextlib
import gc
import importlib
import importlib.util
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from fraudlab import api, bundle, config
from fraudlab.bundle.contract import served
from fraudlab.config import composition
from fraudlab.config.composition import conf_dir
from fraudlab.config.serve import ServingConfig
from fraudlab.serving import openapi
from fraudlab.tuning.composition import check as check_search
from fraudlab.tuning.definition import load_definition
from tests.conftest import FORMAT_1, REPOSITORY, SMALL, Command
from tests.support.documents import PAGES, Block, blocks, commands, help_examples
from tests.support.plugins import unregistered
from tests.support.server import HASH_KEY, KEY, Server
from tests.support.workflows import outside_make

BLOCKS = [*(block for page in PAGES for block in blocks(page)), *help_examples()]
LANGUAGES = {"sh", "python", "yaml", "toml", "text", "inline"}
NOT_RUN = {"gcloud": 4, "kubectl": 1, "Docker": 2}
"""How many blocks are marked as not run, by what they need."""
OTHERS = {*"[ cat cd cp dvc echo export head kill ln ls openssl pip pre-commit ray scontrol source wandb".split()}  # noqa: SIM905
"""Programs of others in blocks that are checked."""
TUTORIAL = REPOSITORY / "docs" / "tutorial.md"
QUICK = ("trainer.enable_progress_bar=false", "logger=none")


class Tutorial:
    """The tutorial's commands, run one after the other in a folder, each as its page has it."""

    def __init__(self, folder: Path, command: Command) -> None:
        self.folder, self._command, self.server = folder, command, None

    def run(self) -> None:
        for block in (each for each in BLOCKS if each.page == TUTORIAL):
            if block.language == "python":
                run_python(block, self.folder, {}, self._address)
            elif block.language == "sh":
                for words in commands(block.text):
                    self._run(block, words)

    def _address(self, text: str) -> str:
        return text.replace("localhost:8000", f"127.0.0.1:{self.server.port}") if self.server else text

    def _run(self, block: Block, words: list[str]) -> None:
        if words == ["make", "train"]:
            words = ["python", "-m", "fraudlab.train", *SMALL, "hydra.run.dir=outputs/train/first"]
        if words[:2] == ["python", "-m"]:
            name, rest = words[2].removeprefix("fraudlab."), words[3:]
            if name == "serve":
                given = dict(word.split("=", 1) for word in rest)
                self.server = Server(
                    self.folder / given.pop("bundle"), self.folder, *(f"{k}={v}" for k, v in given.items())
                )
                return
            done = self._command(name, *rest, *(QUICK if name == "train" else ()), cwd=self.folder)
            assert done.returncode == 0, f"{block.where}: {' '.join(words)}\n{done.stderr}"
        elif words[0] == "curl":
            assert self.server is not None
            words = [self._address(word.replace("computed", KEY)) for word in words]
            done = subprocess.run([*words, "--fail-with-body", "-sS"], cwd=self.folder, capture_output=True, text=True)
            assert done.returncode == 0, f"{block.where}: {done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def project(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the tutorial was followed, with the files that the pages say to save."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "examples").symlink_to(REPOSITORY / "examples")
    (folder / "sweeps").symlink_to(REPOSITORY / "sweeps")
    tutorial = Tutorial(folder, command)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FRAUDLAB_API_KEY", KEY)
        patch.setenv("FRAUDLAB_HASH_KEY", HASH_KEY)
        try:
            tutorial.run()
        finally:
            if tutorial.server:
                tutorial.server.end()
    (folder / "outputs" / "train" / "run").symlink_to("claims")
    (folder / "bundle").symlink_to("outputs/train/claims/bundle")
    for block in BLOCKS:
        if block.file and block.language in ("python", "yaml"):
            (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.file).write_text(block.text)
    return folder


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Plugins of one page are not those of the next, and the schemas, once known to Hydra, are not registered anew."""
    modules = {Path(block.file).stem for block in BLOCKS if block.file and block.language == "python"}
    with unregistered(*modules, *(path.stem for path in (REPOSITORY / "examples").glob("my_*.py"))):
        config.register()
        monkeypatch.setattr(config, "register", lambda: None)  # for each command it would take a fifth of the time
        gc.freeze()  # a third of the time of each composition would go to looking through what torch and others have
        yield
        gc.unfreeze()


@contextlib.contextmanager
def within(folder: Path) -> Iterator[None]:
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        for each in (folder, folder / "examples"):
            patch.syspath_prepend(str(each))
        yield


def run_python(block: Block, folder: Path, names: dict, text=lambda text: text) -> None:
    with within(folder):
        exec(compile(text(block.text.replace("<run>", "run")), block.where, "exec"), names)


def test_blocks_have_a_language_and_those_that_are_not_run_are_counted() -> None:
    assert {block.language for block in BLOCKS} <= LANGUAGES
    marks = [block.title.removeprefix("not run: ") for block in BLOCKS if block.title.startswith("not run: ")]
    assert Counter(marks) == NOT_RUN


def _pages(*languages: str) -> list:
    found = dict.fromkeys(block.page for block in BLOCKS if block.language in languages)
    return [pytest.param(page, id=page.stem) for page in found]


@pytest.mark.parametrize("page", _pages("sh", "inline"))
def test_commands_exist_and_take_what_the_page_types(page: Path, project: Path) -> None:
    for block in BLOCKS:
        if block.page == page and block.language in ("sh", "inline") and not block.title.startswith("not run: "):
            folder = project / "examples" if page.parent.name == "examples" else project
            for words in commands(block.text):
                if words[0] == "cd":
                    folder = project / words[1]
                try:
                    with within(folder):
                        check(words)
                except (Exception, SystemExit) as error:
                    pytest.fail(f"{block.where}: {' '.join(words)}\n{error}")


_CHECKED: set[tuple[str, ...]] = set()


def check(words: list[str]) -> None:
    """That a command exists and takes its words.

    Raises:
        Exception: it does not.
    """
    if tuple(words) in _CHECKED:
        return
    program, rest = Path(words[0]).name, words[1:]
    if program in ("torchrun", "srun"):
        program, rest = "python", rest[rest.index("-m") :]
    if program == "python" and rest[:1] == ["-m"]:
        check_module(rest[1], [word for word in rest[2:] if word != "computed"])
    elif program == "make":
        check_target(rest)
    elif program == "curl":
        check_address(rest)
    elif program == "python":
        assert rest[0] == "-c" or (REPOSITORY / rest[0]).is_file(), f"there is no {rest[0]}"
    else:
        assert program in OTHERS, f"{program} is no program that the documents use"
    _CHECKED.add(tuple(words))


def check_module(name: str, words: list[str]) -> None:
    if name.startswith("fraudlab.") and name.removeprefix("fraudlab.") in config.COMMANDS:
        if words:  # a bare command has no settings to be wrong
            check_settings(name.removeprefix("fraudlab."), words)
        return
    assert importlib.util.find_spec(name) is not None, f"there is no module {name}"
    if words and name.startswith(("benchmarks", "fraudlab")):
        check_arguments(name, words)


def check_settings(name: str, words: list[str]) -> None:
    """Compose and type, as the command does; of a multirun each value that is swept over."""
    folder = words.pop(words.index("--config-dir") + 1) if "--config-dir" in words else None
    overrides = [word for word in words if word not in ("--config-dir", "--cfg", "job", "-m")]
    assert not [word for word in overrides if "=" not in word], f"{overrides} are not all key=value"
    jobs = [overrides]
    if "-m" in words:
        parsed = OverridesParser.create().parse_overrides(overrides)
        swept = [(each, list(each.sweep_string_iterator())) for each in parsed if each.is_sweep_override()]
        swept = [(each, values[:1] if each.key_or_group == "seed" else values) for each, values in swept]
        fixed = [word for word in overrides if word not in {each.input_line for each, _ in swept}]
        most = max((len(values) for _, values in swept), default=1)
        jobs = [
            [*fixed, *(f"{each.get_key_element()}={values[job % len(values)]}" for each, values in swept)]
            for job in range(most)
        ]
    for job in jobs:
        if folder is not None:
            _stand_in(Path(folder), job)
        if "--cfg" in words:  # which shows settings that are not whole, too
            composition.compose(name, [*job, "paths.output_dir=out"], folder)
            continue
        settings = api.compose(*job, command=name, config_dir=folder)
        if name == "sweep":
            search = load_definition(settings)
            if settings.sweep.endswith(".yaml"):  # those of sweeps/ have tests of their own
                with composition.initialized():
                    check_search(search)


def _stand_in(folder: Path, overrides: list[str]) -> None:
    """An empty option in the place of one that a command would have written into the folder by then."""
    for group, option in (word.split("=", 1) for word in overrides):
        there = [(each / group / f"{option}.yaml").is_file() for each in (folder, conf_dir())]
        if group in ("experiment", "local") and not any(there):
            assert not folder.name.startswith(("my", "conf")), f"{folder} has no {group}/{option}.yaml"
            (folder / group).mkdir(parents=True, exist_ok=True)
            (folder / group / f"{option}.yaml").write_text("# @package _global_\n")


class _Parsed(Exception):
    pass


def check_arguments(name: str, words: list[str]) -> None:
    """Give the words to the module's own parser, and go no further."""
    parse = argparse.ArgumentParser.parse_args

    def parsed(parser: argparse.ArgumentParser, *_: object) -> None:
        parse(parser, words)
        raise _Parsed

    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(_Parsed):
        patch.setattr(argparse.ArgumentParser, "parse_args", parsed)
        patch.setattr(sys, "argv", [name, *words])
        package = importlib.util.find_spec(name)
        assert package is not None
        module = importlib.import_module(f"{name}.__main__" if package.submodule_search_locations else name)
        if "sys.argv" not in Path(str(module.__file__)).read_text():  # which reads its words without a parser
            module.main()
            raise AssertionError(f"{name} takes no arguments")


def check_target(words: list[str]) -> None:
    """Let make say what it would do, and check that; even then it would start a shell for lines with ``$(MAKE)``."""
    command = ["make", "-n", "SHELL=/bin/true", *words]
    done = subprocess.run(command, cwd=REPOSITORY, env=outside_make(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for found in re.findall(
        r"\.venv/bin/(python -m (?:fraudlab|benchmarks)\.[^;&|>\n]+)", done.stdout.replace("\\\n", " ")
    ):
        for each in commands(found):
            check(each)


def check_address(words: list[str]) -> None:
    """That the server has the address and its parameters, for the method."""
    loaded = bundle.load(FORMAT_1 / "bundle_with_masks")
    schema = served(loaded.schema, loaded.features, history=True)
    paths = openapi.document(schema, ServingConfig(history="h.sqlite", record_to="record"), "version", keyed=True)[
        "paths"
    ]
    (address,) = [word for word in words if "localhost:" in word]
    asked = urlsplit(address if "//" in address else f"//{address}")
    method = "post" if {"-d", "--data", "--data-binary"} & {*words} else "get"
    known = {each["name"] for each in paths[asked.path][method].get("parameters", ()) if "name" in each}
    assert {*parse_qs(asked.query)} <= known, f"{asked.path} takes {known}"


def test_the_tutorial_leaves_what_it_says(project: Path) -> None:
    run = project / "outputs" / "train" / "claims"
    assert (run / "metrics.json").is_file()
    assert (run / "bundle" / "manifest.json").is_file()


# The tutorial's are run in their turn by the fixture.
@pytest.mark.parametrize("page", [each for each in _pages("python") if each.values != (TUTORIAL,)])
def test_python_runs(page: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = api.train
    small = (*SMALL, *QUICK, "trainer.max_epochs=1", f"paths.data_dir={project}/data")
    monkeypatch.setattr(api, "train", lambda *words: train(*words, *small))
    names: dict = {}
    for block in BLOCKS:
        if block.page == page and block.language == "python":
            if block.file:  # a plugin
                with within(project):
                    plugin = importlib.import_module(Path(block.file).stem)
                assert Path(str(plugin.__file__)) == project / block.file, f"{block.where}: another file was imported"
            else:
                run_python(block, project, names)


@pytest.mark.parametrize("page", _pages("yaml", "toml"))
def test_files_are_of_their_language(page: Path) -> None:
    for block in BLOCKS:
        if block.page == page and block.language in ("yaml", "toml"):
            assert yaml.safe_load(block.text) if block.language == "yaml" else tomllib.loads(block.text), block.where


def test_readme_shows_what_describe_writes(project: Path) -> None:
    written = (project / "my" / "experiment" / "claims.yaml").read_text().splitlines()
    (shown,) = [block.text for block in BLOCKS if block.page == REPOSITORY / "README.md" and block.language == "yaml"]
    keys = [{line.partition(" #")[0] for line in lines} for lines in (shown.splitlines(), written)]
    assert keys[0] <= keys[1]


def test_the_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= 150


def test_links_of_the_documents_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
                inside = page.parent.name == "docs"
                assert not inside or not target.startswith(".."), f"{page.name}: {target} is not on the site"
