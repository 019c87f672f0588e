"""What a server needs to start, and what it refuses to start with."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from fraudlab import bundle as bundles
from tests.support.bundles import signed
from tests.support.server import KEY, Server, refused

# Read by Python when it starts: modules that must not be there, as in an environment of the extra `serve` alone.
_BLOCK = """
import sys
blocked = set("torch lightning pytorch_tabnet sklearn pandas matplotlib wandb onnx optuna psutil".split())
if "fraudlab.serving" in sys.orig_argv:
    blocked |= {"hydra", "omegaconf", "polars"}
class Blocked:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}: blocked", name=name)
sys.meta_path.insert(0, Blocked)
"""


def test_keys_of_a_file_open_it_and_the_training_stack_is_not_needed(
    exported: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(_BLOCK)
    (tmp_path / "keys").write_text(f"{'a' * 20}\n\n  {'b' * 20}\n")
    here = str(Path(bundles.__file__).parents[2])
    seen = subprocess.run(
        [sys.executable, "-c", "import torch"], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True
    )
    assert b"blocked" in seen.stderr
    golden = bundles.load(exported[1]).golden()[0]
    environment = {"PYTHONPATH": f"{tmp_path}:{here}"}
    with Server(exported[1], tmp_path, "serving.api_key_file=keys", env=environment) as server:
        statuses = {
            key: server.predict(golden["record"], key=key).status
            for key in ("a" * 20, "b" * 20, KEY, "a" * 19, "a" * 20 + " b", None)
        }
        assert statuses == {"a" * 20: 200, "b" * 20: 200, KEY: 401, "a" * 19: 401, "a" * 20 + " b": 401, None: 401}
        # What a record of the features needs at the first call must not be missing either.
        explained = server.predict(golden["record"], "?explain=3", key="a" * 20)
        assert len(explained.said["reasons"]) == 3
        assert server.end() == 0


def test_a_bundle_that_gives_other_scores_is_not_served(exported: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "bundle"
    shutil.copytree(exported[1], other)
    rows = [json.loads(line) for line in (other / "golden.jsonl").read_text().splitlines()]
    rows[3]["score"] += 1e-4
    (other / "golden.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "golden" in refused(signed(other), tmp_path)


def test_an_empty_key_file_is_told(exported: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("\n")
    assert "has no key" in refused(exported[1], tmp_path, "serving.api_key_file=keys")
