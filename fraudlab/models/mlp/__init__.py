"""A multi-layer perceptron."""

from fraudlab.models.mlp.network import MLP as Network

__all__ = ["Network"]
