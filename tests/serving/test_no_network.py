"""Training, export and serving need no network and look up no name; held by a namespace without a route and strace."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fraudlab import bundle as bundles

# What runs there, one after the other: a run, its bundle, a server of it that is asked once, and scores of a file.
_STEPS = """
set -e
ip link set lo up
python -m fraudlab.train data=ieee_cis_simulated data.rows=2000 trainer.max_epochs=1 report=false \
    trainer.enable_progress_bar=false logger=none hydra.run.dir=run paths.data_dir=data
python -m fraudlab.export run=run out=bundle
python -m fraudlab.serve bundle=bundle serving.port=8000 &
until curl -sf 127.0.0.1:8000/health/ready; do sleep 0.2; done
sleep 15  # ONNX Runtime calls home some seconds after its start
curl -sf -H 'Content-Type: application/json' -d @record.json 127.0.0.1:8000/predict > answer.json
kill -TERM $!
wait $!
"""
_ADDRESS = re.compile(r'(?:sin_addr=inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)")')


@pytest.mark.slow
def test_nothing_calls_out(exported: tuple[Path, Path], tmp_path: Path) -> None:
    namespace = ["unshare", "--net", *([] if os.getuid() == 0 else ["--map-root-user"])]
    for needed in ("unshare", "strace", "ip", "curl"):
        if shutil.which(needed) is None:
            pytest.skip(f"no {needed} here")
    if subprocess.run([*namespace, "ip", "link", "set", "lo", "up"], capture_output=True).returncode:
        pytest.skip("no network namespaces here")
    (tmp_path / "record.json").write_text(json.dumps(bundles.load(exported[1]).golden()[0]["record"]))
    home = tmp_path / "home"
    home.mkdir()
    trace = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", "trace"]
    done = subprocess.run(
        [*namespace, *trace, "bash", "-c", _STEPS],
        cwd=tmp_path,
        env={
            **{name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"},
            "HOME": str(home),
            "FRAUDLAB_NATIVE": "0",  # compiling takes long under strace
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(Path(bundles.__file__).parents[2]),
        },
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert 0 <= json.loads((tmp_path / "answer.json").read_text())["score"] <= 1
    trace_lines = (tmp_path / "trace").read_text()
    reached = {one or other for one, other in _ADDRESS.findall(trace_lines)}
    assert "127.0.0.1" in reached  # curl's: the trace sees what it should
    assert reached <= {"127.0.0.1", "::1"}, [line for line in trace_lines.splitlines() if "AF_INET" in line][:10]
    assert "microsoft" not in trace_lines
    assert [path for path in home.rglob("*") if "onnxruntime" in path.name or "Microsoft" in path.name] == []
