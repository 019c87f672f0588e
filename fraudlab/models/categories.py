"""Embeddings of categorical columns."""

from torch import nn


def category_embedding(ids: int, width: int) -> nn.Embedding:
    """``width`` numbers for each of ``ids`` ids, small at the start.

    So an id that training has none of, or few, adds next to nothing.
    """
    made = nn.Embedding(ids, width)
    nn.init.normal_(made.weight, std=0.01)
    return made
