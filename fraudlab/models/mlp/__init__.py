"""A multi-layer perceptron."""

from fraudlab.models.mlp.network import MLP as make_network

__all__ = ["make_network"]
