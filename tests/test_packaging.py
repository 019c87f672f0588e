"""The wheel carries the package and its config, and works from any folder."""

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

from tests.conftest import REPOSITORY


def files_of(*folders: str) -> list[str]:
    """Files of the repository's folders, without what is never committed."""
    files = (path for folder in folders for path in (REPOSITORY / folder).rglob("*") if path.is_file())
    return [
        str(path.relative_to(REPOSITORY))
        for path in files
        if "__pycache__" not in path.parts and path.parent != REPOSITORY / "conf" / "local"
    ]


def test_a_wheel_works_from_any_folder(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([*build, str(REPOSITORY)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    ZipFile(wheel).extractall(tmp_path / "site")
    inside = set(ZipFile(wheel).namelist())
    assert {f"fraudlab/{path}" for path in files_of("conf", "sweeps")} <= inside
    package = set(files_of("fraudlab"))
    assert {Path(path).suffix for path in package} >= {".py", ".c", ".csv", ".jinja", ".css"}
    assert package <= inside
    done = subprocess.run(
        [sys.executable, "-m", "fraudlab.train", "--cfg", "job", "model=mlp"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "batch_norm: true" in done.stdout
    where = subprocess.run(
        [sys.executable, "-c", "from fraudlab.cli import conf_dir; print(conf_dir())"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.strip() == str(tmp_path / "site" / "fraudlab" / "conf")
