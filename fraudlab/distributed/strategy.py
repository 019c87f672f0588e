"""DDP whose processes share one machine's memory."""

from typing import Any

import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch.distributed import GradBucket  # type: ignore[attr-defined]
from torch.nn.parallel import DistributedDataParallel

from fraudlab.distributed.shared_memory import SharedMemory, aligned

NAME = "ddp_shared_memory"


class SharedMemoryDDP(DDPStrategy):
    """Distributed data parallel on the CPU of one machine, with gradients averaged in shared memory.

    Gloo, which PyTorch has for CPUs, moves gradients over sockets in threads of its own, which wait for a core while
    all cores compute: some milliseconds a step, as much as a small network's step. Here the threads that compute
    write, meet and sum. Running statistics of batch norm go the same way: those of the first process, as in DDP.
    Everything that is not done at every step (starting weights, figures, checkpoints) goes through gloo as ever.

    Args:
        settings: of Lightning's ``DDPStrategy`` and of PyTorch's ``DistributedDataParallel``.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"gradient_as_bucket_view": True, **settings})

    def configure_ddp(self) -> None:
        super().configure_ddp()
        model = self.model
        assert isinstance(model, DistributedDataParallel)
        model.broadcast_buffers = False
        gradients = sum(aligned(p.numel() * p.element_size()) for p in model.parameters() if p.requires_grad)
        self._buffers = list(model.buffers())
        assert self._timeout is not None
        self._memory = SharedMemory(
            gradients + sum(aligned(buffer.nbytes) for buffer in self._buffers),
            self.global_rank,
            self.world_size,
            self.broadcast,
            self._timeout.total_seconds(),
        )
        # Where the first process's buffers lie in its slot of each set; made once, since many small views cost time.
        self._first_buffers = [self._after(gradients, slots[0]) for slots in self._memory.sets]
        model.register_comm_hook(None, self._average)

    def _after(self, place: int, slot: Tensor) -> list[Tensor]:
        """Views of ``slot`` like the module's buffers, from byte ``place`` on."""
        views = []
        for buffer in self._buffers:
            views.append(slot[place : place + buffer.nbytes].view(buffer.dtype).view(buffer.shape))
            place += aligned(buffer.nbytes)
        return views

    def _average(self, state: object, bucket: GradBucket) -> torch.futures.Future[Tensor]:
        """The mean of a bucket of gradients over all processes: the same sum in the same order in each."""
        gradients = bucket.buffer()
        slots = self._memory.sets[self._memory.turn][:, : gradients.nbytes].view(gradients.dtype)
        first_buffers = zip(self._first_buffers[self._memory.turn], self._buffers, strict=True)
        slots[self.global_rank].copy_(gradients)
        if bucket.is_last() and self.global_rank == 0:
            for first, buffer in first_buffers:
                first.copy_(buffer)
        self._memory.meet()
        torch.sum(slots, 0, out=gradients)
        gradients.div_(len(slots))
        if bucket.is_last() and self.global_rank > 0:
            for first, buffer in first_buffers:
                buffer.copy_(first)
        averaged: torch.futures.Future[Tensor] = torch.futures.Future()
        averaged.set_result(gradients)
        return averaged
