"""A plain multi-layer perceptron."""

from fraudlab.models.contract import ModelPart

PART = ModelPart("network", "fraudlab.models.mlp.network:MLP", weight_decay=0.3)
