"""What runs inside a training job: it goes on where a preempted one was."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fraudlab.deployment.job import _place
from tests.conftest import SMALL
from tests.support.server import until

SETTINGS = " ".join([*SMALL, "callbacks.last_checkpoint.every_n_steps=5", "report=false", "threads=1", "logger=none"])


def test_each_machine_knows_its_place() -> None:
    cluster = {"workerpool0": ["a:2222"], "workerpool1": ["b:2222", "c:2222"]}
    for task, index, place in (("workerpool0", 0, 0), ("workerpool1", 0, 1), ("workerpool1", 1, 2)):
        spec = json.dumps({"cluster": cluster, "task": {"type": task, "index": index}})
        at, machines, first = _place({"CLUSTER_SPEC": spec})
        assert (at, machines, first["MASTER_ADDR"], first["NODE_RANK"]) == (place, 3, "a", str(place))
    assert _place({}) == (0, 1, {})


def started(name: str, data: Path, folder: Path) -> subprocess.Popen[bytes]:
    """A job of Vertex AI's environment, in a session of its own as in a container."""
    command = [sys.executable, "-m", "fraudlab.cloud", "action=train", "job.upload_seconds=0.1"]
    place = {kind: f"gs://shop/jobs/{name}/{kind}/" for kind in ("model", "checkpoints")}
    variables = {"AIP_MODEL_DIR": place["model"], "AIP_CHECKPOINT_DIR": place["checkpoints"], "TMPDIR": str(folder)}
    folder.mkdir()
    return subprocess.Popen([*command, f"train='{SETTINGS} paths.data_dir={data}'"], cwd=folder,
                            env={**os.environ, **variables}, start_new_session=True)  # fmt: skip


@pytest.mark.slow
def test_a_preempted_job_ends_with_the_same_weights(bucket: Any, small_data: Path, tmp_path: Path) -> None:
    def names(job: str) -> set[str]:
        return {blob.name.removeprefix(f"jobs/{job}/") for blob in bucket.list_blobs(prefix=f"jobs/{job}/")}

    assert started("whole", small_data, tmp_path / "whole").wait(300) == 0
    preempted = started("cut", small_data, tmp_path / "first")
    until(lambda: any(name.endswith("selection/checkpoints/last.ckpt") for name in names("cut")), 200)
    os.killpg(preempted.pid, signal.SIGKILL)
    preempted.wait()
    assert not any(name.startswith("model/") for name in names("cut"))
    # Another machine, which gets notice of its end and then is ended.
    warned = started("cut", small_data, tmp_path / "second")
    until(lambda: any(name.endswith("run/checkpoints/last.ckpt") for name in names("cut")), 200)
    warned.send_signal(signal.SIGTERM)
    assert warned.wait(100) != 0
    assert started("cut", small_data, tmp_path / "third").wait(300) == 0
    found = {job: {blob.name.removeprefix(f"jobs/{job}/model/"): blob.download_as_bytes()
                   for blob in bucket.list_blobs(prefix=f"jobs/{job}/model/")} for job in ("whole", "cut")}  # fmt: skip
    assert set(found["whole"]) == set(found["cut"])
    same = [name for name in found["whole"] if found["whole"][name] == found["cut"][name]]
    assert {"model.onnx", "decision.json", "golden.jsonl"} <= set(same)
    metrics = [json.loads(found[job]["metrics.json"]) for job in ("whole", "cut")]
    assert metrics[0]["test"] == metrics[1]["test"]
    # The result is there: the same job again does nothing.
    before = names("cut")
    assert started("cut", small_data, tmp_path / "fourth").wait(100) == 0
    assert names("cut") == before
