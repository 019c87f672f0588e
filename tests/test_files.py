"""A path holds the old content or the whole new one, never half of it."""

import errno
import os
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import pytest

from fraudlab import files
from fraudlab.files import lock, make_once, replacing, write_json


def test_a_file_appears_whole_and_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.json"
    write_json(path, {"a": 1})
    write_json(path, {"a": 2})
    assert path.read_text() == '{\n  "a": 2\n}\n'
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("folder", [False, True])
def test_a_failure_leaves_the_old_content_and_nothing_else(tmp_path: Path, folder: bool) -> None:
    path = tmp_path / "target"

    def write(where: Path, text: str) -> None:
        if folder:
            where.mkdir()
            where = where / "inside"
        where.write_text(text)

    with replacing(path) as aside:
        write(aside, "old")

    def fail() -> None:
        with replacing(path) as aside:
            write(aside, "half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert (path / "inside" if folder else path).read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_nan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "file", {"metric": float("nan")})
    assert not list(tmp_path.iterdir())


def make(path: Path) -> int:
    made = []

    def write(aside: Path) -> None:
        made.append(aside)
        aside.mkdir()
        for number in range(200):
            (aside / str(number)).write_text("whole")

    make_once(path, write)
    return len(made)


def test_of_several_processes_one_makes_it(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "table"
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as pool:
        assert sum(pool.map(make, [path] * 8)) == 1
    assert len(list(path.iterdir())) == 200
    assert list(path.parent.iterdir()) == [path]


def test_many_who_wait_for_one_file_all_find_it(tmp_path: Path) -> None:
    def rounds(_: int) -> None:
        for number in range(300):
            make_once(tmp_path / str(number), lambda aside: aside.write_text("whole"))

    with ThreadPoolExecutor(16) as pool:  # each opens the lock by itself, as processes do
        list(pool.map(rounds, range(16)))
    assert {path.name for path in tmp_path.iterdir()} == {str(number) for number in range(300)}


def test_what_failed_is_made_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "table"
    with pytest.raises(FileNotFoundError):
        make_once(path, lambda aside: (aside / "part").write_text("half of it, in a folder that is not there"))
    assert not list(tmp_path.iterdir())
    assert make(path) == 1


def test_a_full_disk_is_told_with_the_path(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    with (
        pytest.raises(OSError, match="No space left") as failed,
        replacing(path),
        Path("/dev/full").open("wb", 0) as full,
    ):
        full.write(b"x")
    assert failed.value.filename == str(path)


def test_windows_waits_for_a_lock_that_is_held_and_for_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answers = [OSError(errno.EACCES, "held"), OSError(errno.EDEADLK, "held"), None]

    def locking(*_: int) -> None:
        if (answer := answers.pop(0)) is not None:
            raise answer

    monkeypatch.setattr(files, "fcntl", None)
    monkeypatch.setattr(files, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2), raising=False)
    with (tmp_path / "file").open("w") as file:
        assert lock(file.fileno())
        answers[:] = [OSError(errno.EACCES, "held")]
        assert not lock(file.fileno(), wait=False)
        answers[:] = [OSError(errno.EINVAL, "a file system without locks")]
        with pytest.raises(OSError, match="without locks"):
            lock(file.fileno())
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 0
