"""Fixtures that several tests of the doors share."""

from pathlib import Path

import pytest

from tests.conftest import SMALL, Command


@pytest.fixture(scope="session")
def small_data(door: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that holds the small simulated table."""
    folder = tmp_path_factory.mktemp("small_data")
    settings = [item for item in SMALL if item.startswith("data.")]
    done = door("prepare", *settings, f"paths.data_dir={folder}")
    assert done.returncode == 0, done.stderr
    return folder
