"""A checkpoint is there whole or not at all, the one before it is kept, and a broken one is known as such."""

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fraudlab.errors import UserError
from fraudlab.training.checkpoints import KEEP_PREVIOUS, LAST, PREVIOUS, CheckpointFiles, newest_whole, whole


def save(folder: Path, *steps: int) -> None:
    for step in steps:
        state = {"step": step, "weights": torch.full((2000,), float(step))}
        CheckpointFiles().save_checkpoint(state, folder / LAST, storage_options=KEEP_PREVIOUS)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def hide_an_object(path: Path) -> None:
    torch.save({"step": Path("an object")}, path)


@pytest.mark.parametrize("break_it", [truncate, flip_a_bit, hide_an_object])
def test_a_broken_one_is_passed_over(tmp_path: Path, break_it: Callable[[Path], None]) -> None:
    assert newest_whole(tmp_path) is None
    save(tmp_path, 1, 2, 3)
    assert newest_whole(tmp_path) == tmp_path / LAST
    assert torch.load(tmp_path / PREVIOUS, weights_only=True)["step"] == 2
    break_it(tmp_path / LAST)
    assert newest_whole(tmp_path) == tmp_path / PREVIOUS
    break_it(tmp_path / PREVIOUS)
    with pytest.raises(UserError, match=r"remove last\.ckpt and previous\.ckpt there"):
        newest_whole(tmp_path)


def test_a_kill_between_the_two_renames_leaves_the_one_before(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    (tmp_path / LAST).rename(tmp_path / PREVIOUS)
    assert newest_whole(tmp_path) == tmp_path / PREVIOUS


def test_a_full_disk_leaves_both_and_the_run_goes_on(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    code = (
        "import sys, torch; from pathlib import Path; from fraudlab.training.checkpoints import *\n"
        f"where, state = Path({str(tmp_path)!r}), {{'weights': torch.ones(20_000)}}\n"
        "CheckpointFiles().save_checkpoint(state, where / LAST, storage_options=KEEP_PREVIOUS); print('went on')\n"
        "CheckpointFiles().save_checkpoint(state, where / 'best.ckpt')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
        capture_output=True,
        text=True,
    )
    assert "went on" in done.stdout
    assert "cannot save" in done.stderr
    assert "OSError" in done.stderr  # best.ckpt, without which nothing is left of a fit, ends it
    assert [torch.load(tmp_path / name, weights_only=True)["step"] for name in (LAST, PREVIOUS)] == [2, 1]
    assert sorted(path.name for path in tmp_path.iterdir()) == [LAST, PREVIOUS]
    assert whole(tmp_path / LAST)
