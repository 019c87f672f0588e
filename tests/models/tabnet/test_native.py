"""Compiling the C encoder: once, kept, and never a reason to fail."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fraudlab.models.tabnet.native import build
from fraudlab.models.tabnet.native import compile as native

QUICK = ("-O0", "-std=gnu11", "-fPIC", "-shared")


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """As in a new process with an empty cache; afterwards the process finds its own library again."""
    monkeypatch.setenv("FRAUDLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "FLAGS", QUICK)
    native.operations.cache_clear()
    yield
    native.operations.cache_clear()


def test_compiles_once_and_keeps_it(tmp_path: Path) -> None:
    if native.operations("float") is None:
        pytest.skip("no C compiler")
    (made,) = (tmp_path / "cache").iterdir()  # and nothing half-written beside it
    before = made.stat().st_mtime_ns
    native.operations.cache_clear()
    assert native.operations("float") is not None
    assert [file.stat().st_mtime_ns for file in (tmp_path / "cache").iterdir()] == [before]


def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert native.operations("float") is None
    assert "no C compiler" in caplog.text


def test_a_failing_compiler_is_quoted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text('#!/bin/sh\n[ "$1" = --version ] && exit 0\necho "out of patience" >&2\nexit 1\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    assert native.operations("float") is None
    assert "out of patience" in caplog.text
    assert not list((tmp_path / "cache").iterdir())


def test_a_cache_that_cannot_be_written_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FRAUDLAB_CACHE", str(tmp_path / "file"))
    assert native.operations("float") is None
    assert "plain PyTorch" in caplog.text


def test_it_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUDLAB_NATIVE", "0")
    assert native.operations("float") is None
