"""What a pretraining network gives, and its loss: ``network(categorical, numeric) -> Reconstruction``.

It hides columns of a row and learns to tell them from the others, without labels. In evaluation it hides nothing and
counts every column.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Reconstruction(NamedTuple):
    """What the loss needs, each [B, D] over the embedded columns and of the network's dtype.

    ``reconstruction``: the decoder's columns. ``embedded``: the true ones, not normalised. ``obfuscated``: 1 where a
    column was hidden and counts, else 0.
    """

    reconstruction: Tensor
    embedded: Tensor
    obfuscated: Tensor


def reconstruction_loss(reconstruction: Tensor, embedded: Tensor, obfuscated: Tensor) -> Tensor:
    """Mean over rows of the mean squared error of a row's obfuscated columns, each in units of its variance.

    pytorch-tabnet's ``UnsupervisedLoss``: the paper's loss, made independent of the numbers of rows and of columns.
    Predicting every column's mean gives 1. A row in which nothing is obfuscated counts as 0. It differs from
    pytorch-tabnet in one degenerate case, which :func:`column_scale` describes.

    Args:
        reconstruction: the decoder's columns, [B, D], B at least 2.
        embedded: the true columns, [B, D].
        obfuscated: 1 where a column was hidden and counts, else 0, [B, D].

    Returns:
        The loss [], at least 0.
    """
    variance, mean = torch.var_mean(embedded, dim=0)
    errors = ((reconstruction - embedded) * obfuscated) ** 2 / column_scale(mean, variance)
    # pytorch-tabnet's 1e-9 keeps rows without an obfuscated column from dividing by zero.
    return (errors.sum(dim=1) / (obfuscated.sum(dim=1) + 1e-9)).mean()


def column_scale(mean: Tensor, variance: Tensor) -> Tensor:
    """What a column's squared error is divided by: its variance, or for a constant column its mean's size, or 1.

    pytorch-tabnet divides by the mean itself. Where that is negative, as for a rare flag after scaling in a batch that
    has none, its loss rewards errors without bound; here the size counts.

    Args:
        mean: of each column, [D].
        variance: of each column, [D].
    """
    return torch.where(variance == 0, torch.where(mean == 0, 1.0, mean.abs()), variance)
