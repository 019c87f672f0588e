"""The parameters of the TabNet estimators."""

from dataclasses import dataclass
from typing import Any

import torch
from sklearn.base import BaseEstimator


@dataclass(eq=False, repr=False)
class Parameters(BaseEstimator):
    """Parameters, in the order and with the defaults of pytorch-tabnet 4.1.0; ``fit`` checks and never changes them."""

    n_d: int = 8  # width of the decision part
    n_a: int = 8  # width of the attention part
    n_steps: int = 3  # masks, one after the other
    gamma: float = 1.3  # how often a column may be used by further steps; 1: once
    cat_idxs: Any = None  # positions of the categorical columns
    cat_dims: Any = None  # number of ids of each of them
    cat_emb_dim: Any = 1  # width of their embeddings, one for all or one each
    n_independent: int = 2  # layers of each step's own
    n_shared: int = 2  # layers that all steps share
    epsilon: float = 1e-15  # added inside a logarithm
    momentum: float = 0.02  # of batch normalisation: share of the newest ghost batch
    lambda_sparse: float = 1e-3  # weight of the mask-entropy penalty
    seed: int = 0  # of all that is drawn
    clip_value: float | None = 1  # largest norm of a gradient; 0 or None for no clipping
    verbose: int = 1  # a line is printed every so many epochs; 0 for none
    optimizer_fn: Any = torch.optim.Adam  # a class of PyTorch
    optimizer_params: Any = None  # None for dict(lr=2e-2)
    scheduler_fn: Any = None  # a class of PyTorch; None for a constant rate
    scheduler_params: Any = None  # is_batch_level=True: a step after every batch
    mask_type: str = "sparsemax"  # or entmax
    input_dim: int | None = None  # as pytorch-tabnet has them: the data say both
    output_dim: int | None = None  # as input_dim
    device_name: str = "auto"  # auto: cuda where there is one, else cpu
    n_shared_decoder: int = 1  # layers of the pretraining's decoder that all steps share
    n_indep_decoder: int = 1  # layers of each step's own in that decoder
    grouped_features: Any = None  # groups of positions that are looked at together or not at all
