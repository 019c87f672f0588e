"""TabM (Gorishniy et al. 2025, arXiv:2410.24210): k perceptrons that share a trunk, trained at once."""

from fraudlab.models.contract import ModelPart, suiting_embedding

PART = ModelPart(
    "network",
    "fraudlab.models.tabm.network:TabM",
    auto={"embedding": suiting_embedding},
    optimizer={"lr": 0.02, "weight_decay": 0.3, "decay": "weights"},
)
