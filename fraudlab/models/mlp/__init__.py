"""A plain multi-layer perceptron."""

from fraudlab.models.contract import ModelPart, suiting_embedding

PART = ModelPart(
    "network",
    "fraudlab.models.mlp.network:MLP",
    auto={"embedding": suiting_embedding},
    optimizer={"lr": 0.02, "weight_decay": 0.3, "decay": "all"},
)
