"""A plain multi-layer perceptron."""

from fraudlab.models.contract import ModelPart

PART = ModelPart(
    "network", "fraudlab.models.mlp.network:MLP", optimizer={"lr": 0.02, "weight_decay": 0.3, "decay": "all"}
)
