"""The files that a run and an export leave: for whom they are."""

import os
from pathlib import Path

import numpy as np
import pytest

from fraudlab.models.linear.logistic_regression import LogisticModel


def test_what_is_written_follows_the_umask(exported: tuple[Path, Path]) -> None:
    umask = os.umask(0)
    os.umask(umask)
    files = [path for folder in exported for path in folder.rglob("*") if path.is_file()]
    assert {"encoder.safetensors", "model.onnx", "best.ckpt", "val.parquet"} <= {path.name for path in files}
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in files} == dict.fromkeys(
        (path.name for path in files), oct(0o666 & ~umask)
    )


@pytest.mark.parametrize("umask", [0o022, 0o027])
def test_so_does_a_model_without_a_network(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        LogisticModel({"numeric": np.ones(2), "intercept": np.zeros(1)}, 1).save(tmp_path / "best.safetensors")
    finally:
        os.umask(before)
    assert (tmp_path / "best.safetensors").stat().st_mode & 0o777 == 0o666 & ~umask
