"""What a Dockerfile says, done without an engine: its steps run as root in chroots, over a base of debootstrap's."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

DEBOOTSTRAP = shutil.which("debootstrap")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_WORD = re.compile(r"\$\{?(\w+)\}?")


def can_run() -> bool:
    """Whether images can be built here: as root, with debootstrap and overlays."""
    return DEBOOTSTRAP is not None and os.getuid() == 0 and Path("/proc/filesystems").read_text().count("overlay") > 0


@dataclass
class Stage:
    """A stage, built so far.

    Attributes:
        layers: folders that lie over one another, the topmost first; the last is the base.
        env: of its processes.
    """

    layers: list[Path]
    env: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: int = 0
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)

    def size(self) -> int:
        """Bytes over the base, as ``du`` counts them."""
        words = ["du", "-sbc", *map(str, self.layers[:-1])]
        return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()[-2])


def steps(path: Path) -> Iterator[tuple[str, str]]:
    """Instruction and its words; comments are left out, continued lines joined."""
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        name, _, words = line.partition(" ")
        yield name.upper(), words.strip()


def build(path: Path, context: Path, base: Path, work: Path) -> Stage:
    """Do the steps of each stage; gives the last one.

    Args:
        path: of the Dockerfile.
        context: folder that COPY takes from.
        base: root folder that stands for every image that is not a stage.
        work: folder for the layers.
    """
    stages: dict[str, Stage] = {}
    made = Stage([base])
    for number, (name, words) in enumerate(steps(path)):
        layer = work / f"layer{number}"
        if name == "FROM":
            source, *rest = words.split()
            before = stages.get(source, Stage([base], {"PATH": _PATH}))
            made = Stage([*before.layers], dict(before.env), before.folder, before.user, before.entrypoint)
            made.command, made.healthcheck = before.command, before.healthcheck
            stages[rest[-1] if rest else ""] = made
        elif name == "RUN":
            layer.mkdir()
            with mounted(made, layer) as root, network(root, _pip_places() if "pip " in words else []):
                run = ["chroot", f"--userspec={made.user}", str(root), "/bin/sh", "-c", f"cd {made.folder} && {words}"]
                done = subprocess.run(run, env=made.env | pip_settings(), capture_output=True, text=True)
                assert done.returncode == 0, f"{words}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
            made.layers.insert(0, layer)
        elif name == "COPY":
            layer.mkdir()
            _copy(words, made, stages, context, layer)
            made.layers.insert(0, layer)
        elif name == "ENV":
            for word in re.findall(r'(\w+)=("[^"]*"|\S+)', words):
                value = _WORD.sub(lambda found: made.env.get(found[1], ""), word[1].strip('"'))  # noqa: B023
                made.env[word[0]] = value
        elif name == "WORKDIR":
            made.folder = words
            if not any((each / words.lstrip("/")).is_dir() for each in made.layers):
                (layer / words.lstrip("/")).mkdir(parents=True)
                made.layers.insert(0, layer)
        elif name == "USER":
            made.user = int(words.split(":")[0])
        elif name == "ENTRYPOINT":
            made.entrypoint, made.command = json.loads(words), []
        elif name == "CMD":
            made.command = json.loads(words)
        elif name == "HEALTHCHECK":
            made.healthcheck = json.loads(words[words.index("CMD") + 3 :])
        else:
            assert name == "EXPOSE", name
    return made


def _copy(words: str, made: Stage, stages: Mapping[str, Stage], context: Path, layer: Path) -> None:
    *options, target = words.split()
    sources = [word for word in options if not word.startswith("--")]
    place = layer / (made.folder if not target.startswith("/") else "").lstrip("/") / target.lstrip("/")
    with ExitStack() as held:
        root = context
        for option in options:
            if option.startswith("--from="):
                root = held.enter_context(mounted(stages[option.removeprefix("--from=")], None))
        for source in sources:
            found = root / source.lstrip("/")
            into = place / found.name if target.endswith("/") else place
            into.parent.mkdir(parents=True, exist_ok=True)
            if found.is_dir():
                shutil.copytree(found, into, symlinks=True, dirs_exist_ok=True)
            else:
                shutil.copy2(found, into)


@contextmanager
def mounted(stage: Stage, upper: Path | None) -> Iterator[Path]:
    """The stage's root; what is written goes to ``upper``, or the root is read-only without one."""
    at = stage.layers[-1].parent / f"root{os.getpid()}_{len(list(stage.layers[-1].parent.iterdir()))}"
    at.mkdir()
    options = "lowerdir=" + ":".join(map(str, stage.layers))
    if upper is not None:
        scratch = upper.with_name(f"{upper.name}.scratch")
        scratch.mkdir()
        options += f",upperdir={upper},workdir={scratch}"
    if upper is None and len(stage.layers) == 1:
        subprocess.run(["mount", "-o", "bind,ro", str(stage.layers[0]), str(at)], check=True)
    else:
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(at)], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)
        at.rmdir()


@contextmanager
def network(root: Path, further: Sequence[str]) -> Iterator[None]:
    """With what a step needs of this machine: names of hosts, devices, and ``further`` folders and files."""
    shutil.copy2("/etc/resolv.conf", root / "etc" / "resolv.conf")
    with ExitStack() as held:
        for folder in ["/dev", "/proc", *further]:
            target = root / folder.lstrip("/")
            if Path(folder).is_dir():
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.touch()
            subprocess.run(["mount", "--rbind", folder, str(target)], check=True)
            subprocess.run(["mount", "--make-rslave", str(target)], check=True)
            held.callback(subprocess.run, ["umount", "-l", str(target)], check=True)
        yield


def _pip() -> dict[str, str]:
    said = subprocess.run(["pip", "config", "list"], capture_output=True, text=True, check=True).stdout
    return {name: value.strip("'") for name, _, value in (line.partition("=") for line in said.splitlines())}


def _pip_places() -> list[str]:
    """Folders and files of this machine that pip's settings name."""
    words = [word for value in _pip().values() for word in value.split()]
    indexes = [str(Path(word.removeprefix("file://")).parent) for word in words if word.startswith("file://")]
    return sorted({word for word in [*words, *indexes] if word.startswith("/") and Path(word).exists()})


def pip_settings() -> dict[str, str]:
    """Those of this machine, as pip reads them of the environment."""
    return {f"PIP_{name.rsplit('.', 1)[1].upper().replace('-', '_')}": value for name, value in _pip().items()}


class Container:
    """A stage's command on a read-only root, as its user, with ``/tmp`` in memory.

    Args:
        stage: what runs.
        folder: that it may write to.
        at: the name of that folder in its root.
        env: beside the stage's.
        words: in the place of the stage's command.
        offline: without any network, not even its own machine's.
    """

    def __init__(
        self, stage: Stage, folder: Path, at: str, env: Mapping[str, str], *words: str, offline: bool = False
    ) -> None:
        self._held = ExitStack()
        self.root = self._held.enter_context(mounted(stage, None))
        self._stage = stage
        self._env = {**stage.env, **env}
        self._outside = ["unshare", "--net"] if offline else []
        for kind, source, name in (("tmpfs", "tmpfs", "tmp"), ("proc", "proc", "proc")):
            self._mount(["-t", kind, source], name)
        self._mount(["--rbind", "/dev"], "dev")
        self._mount(["--bind", str(folder)], at)
        (self.root / "tmp").chmod(0o1777)
        command = [*stage.entrypoint, *(words or stage.command)]
        self.process = subprocess.Popen(
            self._within(command), env=self._env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def _mount(self, words: Sequence[str], name: str) -> None:
        subprocess.run(["mount", *words, str(self.root / name)], check=True)
        self._held.callback(subprocess.run, ["umount", "-l", str(self.root / name)], check=True)

    def _within(self, command: Sequence[str]) -> list[str]:
        user, stage = f"{self._stage.user}:{self._stage.user}", self._stage
        found = shutil.which(command[0], path=":".join(str(self.root) + word for word in stage.env["PATH"].split(":")))
        assert found is not None or command[0].startswith("/"), command
        inside = "/" + str(Path(found).relative_to(self.root)) if found else command[0]
        where = ["env", f"--chdir={stage.folder}"]
        root = ["chroot", "--groups=", f"--userspec={user}", str(self.root)]
        return [*self._outside, *root, *where, inside, *command[1:]]

    def run(self, command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        """Run something beside it."""
        return subprocess.run(self._within(command), env=self._env, capture_output=True, text=True)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        with suppress(AttributeError):
            self.process.stdout.close()  # type: ignore[union-attr]
        self._held.close()
