"""TabNet (Arik and Pfister 2021, arXiv:1908.07442)."""

from fraudlab.models.tabnet.network import TabNet as Network

__all__ = ["Network"]
