"""``model=<name>``: the networks, and which models there are."""

from dataclasses import dataclass, field

from fraudlab.config.boosting import CatBoostConfig, LightGBMConfig, XGBoostConfig
from fraudlab.config.checks import AUTO, above, at_least, auto_or_at_least, one_of, within
from fraudlab.config.linear import LogisticRegressionConfig
from fraudlab.errors import UserError


@dataclass
class TabNetConfig:
    """``model=tabnet`` (Arik and Pfister 2021, arXiv:1908.07442); names as in pytorch-tabnet."""

    name: str = "tabnet"
    n_d: int = 8
    n_a: int = 8
    n_steps: int = 2
    gamma: float = 1.3
    n_independent: int = 1
    n_shared: int = 1
    embedding_dim: int = 4
    epsilon: float = 1e-15
    virtual_batch_size: int | str = AUTO  # auto: the rows of the batch
    momentum: float = 0.1
    mask_type: str = "sparsemax"
    feature_groups: list[list[str]] | None = None  # groups of columns, by name, that a mask selects together
    sparsity: float = 0.0  # weight of the mask-entropy penalty (lambda_sparse)
    backend: str = "fast"  # fast: fraudlab's network; reference: the network of pytorch-tabnet, for comparison
    members: int = 1  # networks trained together; their probabilities are averaged
    compile: bool = False  # train with torch.compile; compiling takes about a minute
    pretrained: str | None = None  # run folder of python -m fraudlab.pretrain to start from, for every member

    def __post_init__(self) -> None:
        if self.pretrained is not None and self.backend != "fast":
            raise UserError(f"model.pretrained={self.pretrained} needs model.backend=fast, not {self.backend}")
        one_of("model.mask_type", self.mask_type, ("sparsemax", "entmax"))
        one_of("model.backend", self.backend, ("fast", "reference"))
        for key in ("n_d", "n_a", "n_steps", "embedding_dim", "members"):
            at_least(f"model.{key}", getattr(self, key), 1)
        auto_or_at_least("model.virtual_batch_size", self.virtual_batch_size, 2)
        at_least("model.gamma", self.gamma, 1.0)
        within("model.momentum", self.momentum, 1e-6, 1.0)
        within("model.epsilon", self.epsilon, 1e-30, 1.0)  # float32 must tell it from 0
        for key in ("n_independent", "n_shared", "sparsity"):
            at_least(f"model.{key}", getattr(self, key), 0)
        if self.n_independent + self.n_shared == 0:
            raise UserError("model.n_independent and model.n_shared cannot both be 0")


@dataclass
class NumericEmbeddingConfig:
    """How a network that is no TabNet takes numeric columns (Gorishniy et al. 2022, arXiv:2203.05556)."""

    embedding: str = AUTO  # auto: piecewise_linear up to 64 numeric columns, none beyond
    numeric_dim: int = 4  # width of the embedding of a number, unless embedding=none
    bins: int = 8  # of embedding=piecewise_linear
    frequencies: int = 16  # of embedding=periodic
    frequency_scale: float = 0.1  # of embedding=periodic

    def check_embedding(self) -> None:
        one_of("model.embedding", self.embedding, (AUTO, "none", "piecewise_linear", "periodic"))
        at_least("model.numeric_dim", self.numeric_dim, 1)
        at_least("model.bins", self.bins, 2)
        at_least("model.frequencies", self.frequencies, 1)
        above("model.frequency_scale", self.frequency_scale, 0.0)


@dataclass
class MLPConfig(NumericEmbeddingConfig):
    """``model=mlp``: a plain multi-layer perceptron."""

    name: str = "mlp"
    hidden: list[int] = field(default_factory=lambda: [256, 128])
    dropout: float = 0.0
    batch_norm: bool = True
    activation: str = "relu"
    learnt_activation: bool = False  # each unit learns how to mix the activation with its input
    input_scale: bool = False  # a learnt factor for each input of the first layer
    embedding_dim: int = 4
    members: int = 1  # networks trained together; their probabilities are averaged
    compile: bool = False  # train with torch.compile; compiling takes about a minute

    def __post_init__(self) -> None:
        at_least("model.members", self.members, 1)
        for width in self.hidden:
            at_least("model.hidden", width, 1)
        within("model.dropout", self.dropout, 0.0, 0.99)
        one_of("model.activation", self.activation, ("relu", "selu", "mish"))
        self.check_embedding()


@dataclass
class TabMConfig(NumericEmbeddingConfig):
    """``model=tabm`` (Gorishniy et al. 2025, arXiv:2410.24210): perceptrons that share a trunk."""

    name: str = "tabm"
    variant: str = "mini"
    k: int = 8
    hidden: list[int] = field(default_factory=lambda: [128, 128])
    dropout: float = 0.0
    embedding_dim: int = 4
    compile: bool = False  # train with torch.compile; compiling takes about a minute

    def __post_init__(self) -> None:
        one_of("model.variant", self.variant, ("mini", "full"))
        for key in ("k", "embedding_dim"):
            at_least(f"model.{key}", getattr(self, key), 1)
        at_least("the number of model.hidden's widths", len(self.hidden), 1)
        for width in self.hidden:
            at_least("model.hidden", width, 1)
        within("model.dropout", self.dropout, 0.0, 0.99)
        self.check_embedding()


OPTIONS: dict[str, type] = {
    "tabnet": TabNetConfig,
    "mlp": MLPConfig,
    "tabm": TabMConfig,
    "logistic_regression": LogisticRegressionConfig,
    "lightgbm": LightGBMConfig,
    "xgboost": XGBoostConfig,
    "catboost": CatBoostConfig,
}
