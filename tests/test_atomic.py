"""A path holds the old content or the whole new one, never half of it."""

from pathlib import Path

import pytest

from fraudlab.atomic import replacing, write_json


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
        write_json(tmp_path / "file", {"figure": float("nan")})
    assert not list(tmp_path.iterdir())
