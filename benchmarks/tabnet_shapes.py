"""The tables and widths on which TabNet is measured, and both implementations of the network for each."""

import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pytorch_tabnet import tab_network
from torch import Tensor

from fraudlab.data.batches import Batch
from fraudlab.models.tabnet import TabNet

if TYPE_CHECKING:
    from pytorch_tabnet.tab_model import TabNetClassifier

EMBEDDING_DIM = 4
FRAUD_SHARE = 0.05


@dataclass(frozen=True)
class Shape:
    """One table and network: column counts, rows of a batch and of a ghost batch, widths other than the defaults."""

    categorical: int
    numeric: int
    batch: int
    virtual_batch: int
    widths: dict[str, int] = field(default_factory=dict)

    @property
    def features(self) -> int:
        return self.categorical + self.numeric

    @property
    def cardinalities(self) -> list[int]:
        return np.random.default_rng(0).integers(2, 201, self.categorical).tolist()

    def tiny(self) -> "Shape":
        """The same with a sixteenth of the batch, for a test of the script itself."""
        return replace(self, batch=self.batch // 16, virtual_batch=min(self.virtual_batch, self.batch // 16))

    def rows(self, number: int) -> Batch:
        """So many rows of noise, on the host."""
        rng = np.random.default_rng(1)
        categorical = rng.integers(0, np.array(self.cardinalities, dtype=np.int64), (number, self.categorical))
        label = rng.random(number) < FRAUD_SHARE
        label[0] = True
        return Batch.of(categorical, rng.standard_normal((number, self.numeric), dtype=np.float32), label)

    def ours(self, device: str) -> TabNet:
        torch.manual_seed(0)
        return TabNet(
            self.cardinalities,
            self.numeric,
            embedding_dim=EMBEDDING_DIM,
            virtual_batch_size=self.virtual_batch,
            **self.widths,
        ).to(device)

    def reference(self, device: str) -> tab_network.TabNet:
        torch.manual_seed(0)
        return tab_network.TabNet(
            self.features,
            2,
            **self._columns(),
            **self.widths,
            virtual_batch_size=self.virtual_batch,
            group_attention_matrix=torch.eye(self.features, device=device),
        ).to(device)

    def reference_pretraining(self, device: str) -> tab_network.TabNetPretraining:
        torch.manual_seed(0)
        made = tab_network.TabNetPretraining(
            self.features,
            **self._columns(),
            **self.widths,
            virtual_batch_size=self.virtual_batch,
            group_attention_matrix=torch.eye(self.features, device=device),
        ).to(device)
        made.embedder.embedding_group_matrix = made.embedder.embedding_group_matrix.to(device)
        return made

    def classifier(self, device: str) -> "TabNetClassifier":
        from pytorch_tabnet.tab_model import TabNetClassifier  # pandas, scikit-learn: only where it is measured

        warnings.filterwarnings("ignore", message="No early stopping")
        return TabNetClassifier(**self._columns(), **self.widths, device_name=device, verbose=0)

    def fit_settings(self) -> dict[str, Any]:
        """How ``TabNetClassifier.fit`` is called for the same steps as ours and nothing more."""
        sizes = {"batch_size": self.batch, "virtual_batch_size": self.virtual_batch}
        return {**sizes, "num_workers": 0, "drop_last": False, "compute_importance": False}

    def _columns(self) -> dict[str, Any]:
        dims = [EMBEDDING_DIM] * self.categorical
        return {"cat_idxs": list(range(self.categorical)), "cat_dims": self.cardinalities, "cat_emb_dim": dims}


def one_table(rows: Batch) -> Tensor:
    """The float table that pytorch-tabnet takes, categorical columns first."""
    return torch.cat([rows.categorical.float(), rows.numeric], dim=1)


IEEE = Shape(49, 383, 4096, 128)
HANDBOOK_15 = Shape(0, 15, 2048, 128)
SHAPES = {
    "ieee": IEEE,
    "ieee_wide": replace(IEEE, batch=8192, virtual_batch=256, widths={"n_d": 32, "n_a": 32, "n_steps": 4}),
    "handbook_15": HANDBOOK_15,
    "handbook_23": replace(HANDBOOK_15, numeric=23),
    "handbook_recipe": replace(
        HANDBOOK_15, virtual_batch=2048, widths={"n_steps": 2, "n_shared": 1, "n_independent": 1}
    ),
    "ieee_gpu": replace(IEEE, batch=16384),
    "covertype_gpu": Shape(0, 54, 16384, 512, {"n_d": 64, "n_a": 64, "n_steps": 5}),
}
