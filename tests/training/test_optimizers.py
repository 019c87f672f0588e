"""What weight decay acts on, and Muon for the matrices that it is made for."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from fraudlab.errors import UserError
from fraudlab.models.registry import make_network
from fraudlab.training.muon import Muon
from fraudlab.training.optimizers import make_optimizer, parameter_groups

ADAMW = {"_target_": "torch.optim.AdamW", "lr": 0.1, "weight_decay": 0.5}
MUON = {"_target_": "fraudlab.training.muon.Muon", "decay": "matrices", "lr": 0.1, "weight_decay": 0.5}
MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"name": "mlp", "hidden": [8, 6], "batch_norm": True, "embedding": "periodic"},
    "tabm": {"name": "tabm", "variant": "full", "hidden": [8, 6], "k": 4},
    "tabnet": {"name": "tabnet", "n_steps": 2},
}
# Those that decay by decay=matrices, beside the head.
HIDDEN = {
    "mlp": {"layers.0.weight", "layers.4.weight"},
    "tabm": {"layers.0.weight", "layers.1.weight"},
    "tabnet": {
        "encoder.shared.0.weight",
        "encoder.shared.1.weight",
        *(f"encoder.feature_transformers.{i}.linears.{j}.weight" for i in range(3) for j in range(2)),
        *(f"encoder.attentive_transformers.{i}.linear.weight" for i in range(2)),
    },
}
EMBEDDINGS = {
    "mlp": {"embeddings.0.weight", "numeric_embedding.weight"},
    "tabm": {"embeddings.0.weight"},
    "tabnet": {"embedding.weight"},
}
HEAD = {"mlp": "layers.8.weight", "tabm": "head.weight", "tabnet": "head.weight"}


def network(model: str) -> nn.Module:
    torch.manual_seed(0)
    made = make_network({"model": MODELS[model], "cardinalities": [5], "num_numeric": 3})
    for parameter in made.parameters():
        nn.init.normal_(parameter)
    return made


def give_gradients(made: nn.Module, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    for parameter in made.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=draw)


@pytest.mark.parametrize("decay", ["all", "weights", "matrices", None])
@pytest.mark.parametrize("model", MODELS)
def test_weight_decay_acts_on_what_it_is_told(model: str, decay: str | None) -> None:
    made = network(model)
    before = {name: parameter.detach().clone() for name, parameter in made.named_parameters()}
    optimizer = make_optimizer({**ADAMW, **({"decay": decay} if decay else {})})(made)
    for parameter in made.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    decayed = {name for name, parameter in made.named_parameters() if not parameter.equal(before[name])}
    matrices = HIDDEN[model] | {HEAD[model]}
    assert decayed == {"matrices": matrices, "weights": matrices | EMBEDDINGS[model]}.get(str(decay), set(before))
    for name in decayed:
        assert torch.allclose(dict(made.named_parameters())[name], before[name] * (1 - 0.1 * 0.5))


@pytest.mark.parametrize("model", MODELS)
def test_muon_moves_hidden_matrices_and_adamw_the_rest(model: str) -> None:
    made, apart = network(model), network(model)
    optimizer = make_optimizer(MUON)(made)
    named = dict(apart.named_parameters())
    hidden = [named.pop(name) for name in HIDDEN[model]]
    head = named.pop(HEAD[model])
    theirs = [
        torch.optim.Muon(hidden, lr=0.1, weight_decay=0.5, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW([head], lr=0.1, weight_decay=0.5),
        torch.optim.AdamW(named.values(), lr=0.1, weight_decay=0.0),
    ]
    for step in range(5):
        give_gradients(made, step)
        give_gradients(apart, step)
        if step == 3:  # a checkpoint between, and a schedule
            state, made = optimizer.state_dict(), copy.deepcopy(made)
            optimizer = make_optimizer(MUON)(made)
            optimizer.load_state_dict(state)
            give_gradients(made, step)
            for group in (group for each in (optimizer, *theirs) for group in each.param_groups):
                group["lr"] = 0.03
        for each in (optimizer, *theirs):
            each.step()
    for (name, ours), (_, other) in zip(made.named_parameters(), apart.named_parameters(), strict=True):
        assert ours.equal(other), name


def test_members_of_an_ensemble_have_the_same_kinds() -> None:
    ensemble = make_network({"model": {**MODELS["mlp"], "members": 3}, "cardinalities": [5], "num_numeric": 3})
    counts = [len(group["params"]) for group in parameter_groups(ensemble)]
    assert counts == [3 * len(group["params"]) for group in parameter_groups(ensemble.members[0])]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match=r"optimizer\.decay=most does not exist; it is one of: all, weights, matrices"):
        make_optimizer({**ADAMW, "decay": "most"})
    with pytest.raises(UserError, match=r"no parameter is a hidden matrix; .* optimizer\.decay=matrices"):
        make_optimizer({**MUON, "decay": "all"})(network("mlp"))
    assert isinstance(make_optimizer(MUON)(network("mlp")), Muon)
