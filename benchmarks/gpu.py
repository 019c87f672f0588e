"""``python -m benchmarks.gpu``: does fraudlab work on a CUDA device, and how fast is it there. At most 8 minutes.

Each case runs in a process of its own and writes ``<out>/<case>.json`` at once: what it found, and whether it passed,
failed or was not run, and why. Cases of networks (tabnet, tabm, mlp) need torch and NumPy alone:

equals_cpu_*  a step's gradients and a training's losses, against the CPU's
resume_*      a training that stops half-way and goes on is bit for bit the whole one
bf16_*        autocast to bfloat16 learns as single precision does
speed_*       rows/s and peak memory of training steps against the peer: pytorch-tabnet, tabm, a plain perceptron
compile_*     model.compile: the same losses, and its rate

The others need fraudlab's packages, and are told as not run where one is missing:

train   ``python -m fraudlab.train model=tabnet trainer=gpu debug=fast``, as it stands here
export  the bundle of that run, whose parity is checked on the CPU
ddp     the same training with ``trainer=ddp trainer.devices=1``
killed  a training that gets SIGTERM and goes on with ``resume=``
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

Found = dict[str, Any]
NEEDED = {"speed_tabnet": ("pytorch_tabnet",), "speed_tabm": ("tabm",)}
OF_FRAUDLAB = ("lightning", "hydra", "polars", "jinja2", "matplotlib")
OF_EXPORT = ("onnx", "onnxscript", "onnxruntime", "safetensors")
MOST_SECONDS = 200  # of one case


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = cases()
    parser.add_argument("--cases", nargs="+", choices=names, metavar="CASE", help=f"of: {', '.join(names)}")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: to try the script itself")
    parser.add_argument("--minutes", type=float, default=8.0, help="after which no case begins or goes on")
    parser.add_argument("--out", type=Path, default=Path("outputs/gpu"), help="folder of the results")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it works, measures nothing")
    parser.add_argument("--alone", choices=names, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        print(json.dumps(_alone(arguments)))
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * arguments.minutes
    failed = False
    for name in arguments.cases or names:
        found = _run(name, arguments, end - time.monotonic())
        (arguments.out / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        failed |= found["status"] == "failed"
        print(f"{name:18} {found['status']:8} {found['seconds']:6.1f} s  {_line(found)}", flush=True)
    sys.exit(failed)


def cases() -> list[str]:
    """In the order in which they run: what tells most comes first."""
    networks = ("tabnet", "tabm", "mlp")
    kinds = ("equals_cpu", "resume", "bf16", "speed")
    of_networks = [f"{kind}_{network}" for kind in kinds for network in networks]
    return [*of_networks, "train", "export", "ddp", "killed", *(f"compile_{network}" for network in networks)]


def _run(name: str, arguments: argparse.Namespace, left: float) -> Found:
    """One case in a process of its own."""
    told: Found = {"case": name, "device": arguments.device, "quick": arguments.quick, "seconds": 0.0}
    missing = [package for package in _needed(name) if not _is_there(package)]
    if missing:
        return {**told, "status": "not run", "why": f"not installed: {', '.join(missing)}"}
    if left <= 0:
        return {**told, "status": "not run", "why": "no time left"}
    words = ["--alone", name, "--device", arguments.device, "--out", str(arguments.out.absolute())]
    command = [sys.executable, "-m", "benchmarks.gpu", *words, *(["--quick"] if arguments.quick else [])]
    began = time.monotonic()
    rc, output, errors = _call(command, min(left, MOST_SECONDS))
    told["seconds"] = time.monotonic() - began
    if rc is None:
        return {**told, "status": "failed", "why": f"not done after {told['seconds']:.0f} s", "errors": errors[-2000:]}
    if rc:
        return {**told, "status": "failed", "why": f"exit status {rc}", "errors": errors[-2000:]}
    found = json.loads(output.strip().splitlines()[-1])
    passed = found.pop("passed")
    return {**told, "status": "passed" if passed else "failed", **found}


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def _needed(name: str) -> tuple[str, ...]:
    if name in ("train", "ddp", "killed"):
        return OF_FRAUDLAB
    return (*OF_FRAUDLAB, *OF_EXPORT) if name == "export" else ("torch", "numpy", *NEEDED.get(name, ()))


def _call(command: list[str], seconds: float) -> tuple[int | None, str, str]:
    """Status, output and errors of a command; no status where it was not done in time, and its children end, too."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, errors = process.communicate()
        return None, output, errors
    return process.returncode, output, errors


def _line(found: Found) -> str:
    if "lines" in found:
        return "; ".join(
            f"{line['numbers']} numbers {line['precision']}: {line['ours']['rows_per_s']:,.0f} rows/s, "
            f"{line['ratio']:.2f} times the peer's"
            for line in found["lines"]
        )
    shown = {key: value for key, value in found.items() if isinstance(value, float) and key != "seconds"}
    return found.get("why") or ", ".join(f"{key} {value:.3g}" for key, value in shown.items())


def _alone(arguments: argparse.Namespace) -> Found:
    """What a case finds, in this process."""
    kind, _, network = arguments.alone.rpartition("_")
    if not kind:
        return OF_COMMANDS[arguments.alone](arguments)
    import torch

    from benchmarks import gpu_cases

    run = {
        "equals_cpu": gpu_cases.equals_cpu,
        "resume": gpu_cases.resume,
        "bf16": gpu_cases.bf16,
        "speed": gpu_cases.speed,
        "compile": gpu_cases.compiled,
    }
    machine = {"torch": torch.__version__, "cuda": torch.version.cuda}
    if arguments.device == "cuda":
        machine["gpu"] = torch.cuda.get_device_name()
    return {"machine": machine, **run[kind](network, arguments.device, arguments.quick)}


# ------------------------------------------------------------------------------------------------ fraudlab's commands

_SMALL = ("data.customers=200", "data.terminals=1000", "data.days=70", "split.train_start=2018-05-01")


def _train(arguments: argparse.Namespace, folder: str, *overrides: str, trainer: str = "gpu") -> list[str]:
    """The command; the simulated data are small where the script itself is tried."""
    on = [f"trainer={trainer}" if arguments.device == "cuda" or trainer == "cpu" else "trainer=cpu"]
    small = _SMALL if arguments.quick else ()
    place = f"hydra.run.dir={arguments.out}/runs/{folder}"
    return [sys.executable, "-m", "fraudlab.train", "model=tabnet", *on, *overrides, *small, place]


def _done(*commands: list[str]) -> Found:
    """Run commands one after the other; a case fails with the first that does."""
    seconds = []
    for command in commands:
        began = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True)
        seconds.append(time.monotonic() - began)
        if done.returncode:
            return {"passed": False, "why": done.stderr.strip()[-1000:], "command": command[1:]}
    return {"passed": True, "seconds_of_commands": seconds, "command": commands[0][1:]}


def train(arguments: argparse.Namespace) -> Found:
    return _done(_train(arguments, "train", "debug=fast"))


def export(arguments: argparse.Namespace) -> Found:
    run = arguments.out / "runs" / "train"
    if not (run / "metrics.json").is_file():
        return {"passed": False, "why": "the case train left no run"}
    found = _done([sys.executable, "-m", "fraudlab.export", f"run={run}"])
    if found["passed"]:
        found["max_difference"] = json.loads((run / "bundle" / "parity.json").read_text())["max_difference"]
    return found


def ddp(arguments: argparse.Namespace) -> Found:
    return _done(_train(arguments, "ddp", "trainer.devices=1", "debug=fast", trainer="ddp"))


def killed(arguments: argparse.Namespace) -> Found:
    folder = arguments.out / "runs" / "killed"
    epochs = ("trainer.max_epochs=4", "callbacks.last_checkpoint.every_n_steps=5", "refit=false")
    process = subprocess.Popen(_train(arguments, "killed", *epochs), stderr=subprocess.DEVNULL)
    while process.poll() is None and not (folder / "checkpoints" / "last.ckpt").is_file():
        time.sleep(0.1)
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    status = process.wait()
    if status == 0:
        return {"passed": False, "why": "it ended before it could be stopped"}
    found = _done([sys.executable, "-m", "fraudlab.train", f"resume={folder}"])
    return {**found, "passed": found["passed"] and (folder / "metrics.json").is_file(), "status_when_stopped": status}


OF_COMMANDS: dict[str, Callable[[argparse.Namespace], Found]] = {
    "train": train,
    "export": export,
    "ddp": ddp,
    "killed": killed,
}


if __name__ == "__main__":
    main()
