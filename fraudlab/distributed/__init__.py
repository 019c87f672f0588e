"""Training by several processes of one machine: :class:`SharedMemoryDDP`, ``trainer.strategy=ddp_shared_memory``."""

from lightning.pytorch.strategies import StrategyRegistry

from fraudlab.distributed.strategy import NAME, SharedMemoryDDP

__all__ = ["NAME", "SharedMemoryDDP"]

if NAME not in StrategyRegistry:
    StrategyRegistry.register(NAME, SharedMemoryDDP, description="DDP on one machine's CPU, through shared memory")
