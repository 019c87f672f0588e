"""TabNet with all its abilities: export, pretraining, and the way from and to pytorch-tabnet."""

from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn

from fraudlab.models.tabnet.network import TabNetNetwork


class TabNet(TabNetNetwork):
    """``model=tabnet``: all that :class:`fraudlab.models.tabnet.network.TabNetNetwork` takes and gives, and can do."""

    def exported(self) -> nn.Module:
        """A copy arranged for ONNX, in evaluation, which gives logits [B, K] and importance [B, F]."""
        from fraudlab.models.tabnet.export import ExportedTabNet

        return ExportedTabNet(self)

    def without(self, dropped: Tensor, categorical: Tensor, numeric: Tensor) -> Self:
        """This network without input columns that no mask looks at: see :mod:`fraudlab.models.tabnet.pruning`."""
        from fraudlab.models.tabnet.pruning import without

        return without(self, dropped, categorical, numeric)

    def pretraining(self, **settings: Any) -> nn.Module:
        """What pretrains this network: a :class:`fraudlab.models.tabnet.pretraining.TabNetPretraining`."""
        from fraudlab.models.tabnet.pretraining import TabNetPretraining

        return TabNetPretraining(self, **settings)

    @classmethod
    def from_pytorch_tabnet(cls, source: str | Path | nn.Module) -> Self:
        """The network of a file that ``TabNetClassifier.save_model`` wrote, or of its ``network`` itself.

        It takes the categorical columns in order of their position, and the others as ``numeric`` in theirs.

        Raises:
            ValueError: the file cannot be read as such, or the network is one that this class cannot be.
        """
        from fraudlab.models.tabnet.archive import load_pytorch_tabnet
        from fraudlab.models.tabnet.interop import from_reference

        network = (
            load_pytorch_tabnet(source, cls) if isinstance(source, str | Path) else from_reference(source, make=cls)
        )
        assert isinstance(network, cls)
        return network

    def to_pytorch_tabnet(self, path: str | Path) -> Path:
        """Write a file that ``TabNetClassifier().load_model`` reads, ``.zip`` appended if lacking; returns its path."""
        from fraudlab.models.tabnet.archive import save_pytorch_tabnet

        return save_pytorch_tabnet(self, path)
