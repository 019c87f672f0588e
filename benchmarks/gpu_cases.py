"""What :mod:`benchmarks.gpu` asks of networks on a device. Needs torch and NumPy, for peers their packages."""

import statistics
import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fraudlab.models.contract import NetworkOutput
from fraudlab.models.mlp.network import MLP
from fraudlab.models.tabm.network import TabM
from fraudlab.models.tabnet.model import TabNet

NUMBERS, IDS = 23, (50, 200)
HIDDEN = (256, 256, 256)
NETWORKS = ("tabnet", "tabm", "mlp")
Found = dict[str, Any]


def network(name: str, numbers: int = NUMBERS, ids: tuple[int, ...] = IDS, dropout: float = 0.0) -> nn.Module:
    """A network of ours, the same weights whatever the device."""
    torch.manual_seed(0)
    if name == "tabnet":
        return TabNet(ids, numbers, virtual_batch_size=256)
    if name == "tabm":
        return TabM(ids, numbers, hidden=HIDDEN, dropout=dropout)
    return MLP(ids, numbers, hidden=HIDDEN, dropout=dropout)


def batch(
    rows: int, numbers: int = NUMBERS, ids: tuple[int, ...] = IDS, seed: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, numbers and labels that follow from them, on the host."""
    draw = torch.Generator().manual_seed(seed)
    categorical = torch.stack([torch.randint(0, n, (rows,), generator=draw) for n in ids] or [torch.empty(rows)], 1)
    numeric = torch.randn(rows, numbers, generator=draw)
    label = (numeric[:, 0] + 0.3 * torch.randn(rows, generator=draw) > 1).long()
    return categorical[:, : len(ids)].long(), numeric, label


def loss_of(made: nn.Module, rows: tuple[Tensor, ...]) -> Tensor:
    """Mean cross-entropy of all members and the network's own penalty."""
    categorical, numeric, label = rows
    output = made(categorical, numeric)
    logits = output.logits.reshape(len(label), -1, 2)
    members = logits.shape[1]
    logits = logits.flatten(0, 1).to(torch.promote_types(logits.dtype, torch.float32))
    return cross_entropy(logits, label.repeat_interleave(members)) + output.penalty


def trained(made: nn.Module, device: str, steps: int, rows: int, *, bf16: bool = False) -> list[float]:
    """Losses of so many steps of AdamW."""
    made.to(device).train()
    optimizer = torch.optim.AdamW(made.parameters(), lr=1e-3)
    return [_step(made, optimizer, _on(batch(rows, seed=i), device), bf16) for i in range(steps)]


def _step(made: nn.Module, optimizer: torch.optim.Optimizer, rows: Any, bf16: bool = False) -> float:
    optimizer.zero_grad()
    with torch.autocast(rows[1].device.type, torch.bfloat16, enabled=bf16):
        loss = loss_of(made, rows)
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def _on(rows: tuple[Tensor, ...], device: str) -> Any:
    return tuple(each.to(device) for each in rows)


def equals_cpu(name: str, device: str, quick: bool) -> Found:
    """Gradients of a step in double precision, and losses of training in single precision, against the CPU's."""
    rows, steps = (256, 3) if quick else (2048, 20)
    gradients = []
    for where in ("cpu", device):
        made = network(name).double().to(where).train()
        ids, numbers, label = _on(batch(rows), where)
        loss_of(made, (ids, numbers.double(), label)).backward()
        gradients.append({key: p.grad.cpu() for key, p in made.named_parameters() if p.grad is not None})
    apart = max(float((gradients[0][key] - gradients[1][key]).abs().max()) for key in gradients[0])
    torch.backends.cuda.matmul.allow_tf32 = False
    losses = [trained(network(name), where, steps, rows) for where in ("cpu", device)]
    of_losses = max(abs(a - b) / abs(a) for a, b in zip(*losses, strict=True))
    return {
        "gradients_apart": apart,
        "losses_apart": of_losses,
        "passed": gradients[0].keys() == gradients[1].keys() and apart <= 1e-9 and of_losses <= 1e-2,
    }


def bf16(name: str, device: str, quick: bool) -> Found:
    """Training under autocast to bfloat16 learns as it does in single precision."""
    rows, steps = (256, 4) if quick else (2048, 60)
    single, half = (trained(network(name), device, steps, rows, bf16=on) for on in (False, True))
    last = max(1, steps // 4)
    ends = [statistics.mean(losses[-last:]) for losses in (single, half)]
    return {"float32": ends[0], "bfloat16": ends[1], "passed": abs(ends[1] - ends[0]) <= 0.05 * single[0]}


def resume(name: str, device: str, quick: bool) -> Found:
    """Half of the steps, saved, loaded into a new network and optimizer, and the rest: bit for bit the whole."""
    rows, steps = (256, 4) if quick else (2048, 10)

    def fresh() -> tuple[nn.Module, torch.optim.Optimizer]:
        made = network(name, dropout=0.1).to(device).train()
        return made, torch.optim.AdamW(made.parameters(), lr=1e-3)

    made, optimizer = fresh()
    saved: Found = {}
    for i in range(steps):
        if i == steps // 2:
            saved = {
                "network": {key: value.clone() for key, value in made.state_dict().items()},
                "optimizer": _copied(optimizer.state_dict()),
                "random": torch.get_rng_state(),
                "of_device": torch.cuda.get_rng_state() if device == "cuda" else None,
            }
        _step(made, optimizer, _on(batch(rows, seed=i), device))
    again, optimizer = fresh()
    again.load_state_dict(saved["network"])
    optimizer.load_state_dict(saved["optimizer"])
    torch.set_rng_state(saved["random"])
    if saved["of_device"] is not None:
        torch.cuda.set_rng_state(saved["of_device"])
    for i in range(steps // 2, steps):
        _step(again, optimizer, _on(batch(rows, seed=i), device))
    pairs = zip(made.state_dict().values(), again.state_dict().values(), strict=True)
    apart = max(float((a.double() - b.double()).abs().max()) for a, b in pairs)
    return {"weights_apart": apart, "passed": apart == 0.0}


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_copied(inner) for inner in value]
    return value.clone() if isinstance(value, Tensor) else value


def compiled(name: str, device: str, quick: bool) -> Found:
    """``network.compile(dynamic=False)``, as ``model.compile=true`` has it: the same losses; seconds and rate."""
    rows, steps = (256, 2) if quick else (4096, 10)
    plain = trained(network(name), device, steps, rows)
    made = network(name)
    made.compile(dynamic=False)
    began = time.perf_counter()
    losses = trained(made, device, steps, rows)
    took = time.perf_counter() - began
    apart = max(abs(a - b) / abs(a) for a, b in zip(plain, losses, strict=True))
    sides = {"plain": network(name), "compiled": made}
    rates = {side: _rate(each, device, rows, quick) for side, each in sides.items()}
    return {"first_steps_s": took, "losses_apart": apart, **rates, "passed": apart <= 1e-2}


def speed(name: str, device: str, quick: bool) -> Found:
    """Rows a second and peak memory of training steps, ours and the peer's, numbers alone."""
    rows = 512 if quick else {"tabnet": 16384, "tabm": 4096, "mlp": 16384}[name]
    found: Found = {"rows_of_a_step": rows, "lines": []}
    for numbers in (23,) if quick else (23, 432):
        for half in (False,) if quick or device == "cpu" else (False, True):
            ours = _rate(network(name, numbers, (), 0.1), device, rows, quick, numbers, half)
            theirs = _rate(peer(name, numbers), device, rows, quick, numbers, half)
            line = {"numbers": numbers, "precision": "bf16" if half else "fp32", "ours": ours, "theirs": theirs}
            found["lines"].append({**line, "ratio": ours["rows_per_s"] / theirs["rows_per_s"]})
    return {**found, "passed": True}


def _rate(
    made: nn.Module, device: str, rows: int, quick: bool, numbers: int = NUMBERS, half: bool = False
) -> dict[str, float]:
    made.to(device).train()
    optimizer = torch.optim.AdamW(made.parameters(), lr=1e-3, fused=True)
    given = _on(batch(rows, numbers, IDS if numbers == NUMBERS and _reads_ids(made) else ()), device)
    rounds, steps = (1, 1) if quick else (3, 5)
    _step(made, optimizer, given, half)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(rounds):
        _wait(device)
        began = time.perf_counter()
        for _ in range(steps):
            _step(made, optimizer, given, half)
        _wait(device)
        seconds.append(time.perf_counter() - began)
    rate = {"rows_per_s": rows * steps / statistics.median(seconds)}
    return {**rate, "peak_mib": torch.cuda.max_memory_allocated() / 2**20} if device == "cuda" else rate


def _reads_ids(made: nn.Module) -> bool:
    return any(isinstance(module, nn.Embedding) for module in made.modules())


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


class _Peer(nn.Module):
    """A network of numbers alone behind the contract of ours."""

    def __init__(self, made: nn.Module) -> None:
        super().__init__()
        self.made = made

    def forward(self, categorical: Tensor, numeric: Tensor) -> NetworkOutput:
        return NetworkOutput(self.made(numeric), numeric.new_zeros(()))


def peer(name: str, numbers: int) -> nn.Module:
    """The peer of a network: pytorch-tabnet's, the package ``tabm``'s, or a perceptron of torch's own layers.

    Raises:
        ModuleNotFoundError: its package is not installed.
    """
    torch.manual_seed(0)
    if name == "tabnet":
        from fraudlab.models.tabnet.reference import ReferenceTabNet

        return ReferenceTabNet([], numbers, virtual_batch_size=256)
    if name == "tabm":
        import tabm

        sizes = {"n_blocks": len(HIDDEN), "d_block": HIDDEN[0], "dropout": 0.1, "k": 32}
        kind = {"arch_type": "tabm-mini", "start_scaling_init": "random-signs"}
        return _Peer(tabm.TabM(n_num_features=numbers, d_out=2, **kind, **sizes))
    layers: list[nn.Module] = []
    for width, after in zip((numbers, *HIDDEN), HIDDEN, strict=False):
        layers += [nn.Linear(width, after), nn.ReLU(), nn.Dropout(0.1)]
    return _Peer(nn.Sequential(*layers, nn.Linear(HIDDEN[-1], 2)))
