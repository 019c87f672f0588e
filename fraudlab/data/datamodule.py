"""The Lightning data module: batches of two splits for a trainer. It holds nothing fitted."""

import lightning.pytorch as L
import psutil
import torch

from fraudlab.data.batches import Batch, Batches
from fraudlab.errors import UserError


class FraudDataModule(L.LightningDataModule):
    """Training and validation rows, already encoded.

    Args:
        train: training rows.
        validation: validation rows, or None.
        batch_size: rows of one optimiser step, over all ranks.
        eval_batch_size: rows scored at once, over all ranks.
        seed: seed of the orders.
        shuffle: ``rows``, ``blocks`` (of rows side by side; see :class:`Batches`), or ``auto``: blocks if the training
            rows take more than half of the free memory of the first rank. If the trainer overfits a few batches,
            rows keep their order, so that the batches are the same every epoch.
        keep_on_device: whether the arrays live on the accelerator: ``always``, ``never``, or ``auto``, if they take
            at most half of its free memory.
    """

    def __init__(
        self,
        train: Batch,
        validation: Batch | None,
        *,
        batch_size: int,
        eval_batch_size: int,
        seed: int,
        shuffle: str = "auto",
        keep_on_device: str = "auto",
    ) -> None:
        super().__init__()
        self.train = train
        self.validation = validation
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.keep_on_device = keep_on_device

    def train_dataloader(self) -> Batches:
        assert self.trainer is not None
        overfit = self.trainer.overfit_batches  # type: ignore[attr-defined]
        return self._batches(self.train, self.batch_size, shuffle=not overfit)

    def val_dataloader(self) -> Batches | list[Batches]:
        if self.validation is None:
            return []
        return self._batches(self.validation, self.eval_batch_size, shuffle=False)

    def _batches(self, rows: Batch, batch_size: int, *, shuffle: bool) -> Batches:
        assert self.trainer is not None
        device = self.trainer.strategy.root_device
        return Batches(
            place(rows, device, self.keep_on_device),
            batch_size,
            shuffle=shuffle,
            blocks=shuffle and self._in_blocks(rows),
            seed=self.seed,
            rank=self.trainer.global_rank,
            num_ranks=self.trainer.world_size,
            device=device,
        )

    def _in_blocks(self, rows: Batch) -> bool:
        if self.shuffle != "auto":
            return self.shuffle == "blocks"
        assert self.trainer is not None
        # Memory of file maps counts as free: it can be released at any time.
        blocks = rows.num_bytes > psutil.virtual_memory().available // 2
        return self.trainer.strategy.broadcast(blocks)  # ranks with different orders would skip rows and repeat others


def place(rows: Batch, device: torch.device, keep_on_device: str) -> Batch:
    """The rows on ``device`` if the setting asks for it and they fit, else in (pinned) host memory.

    Raises:
        UserError: ``keep_on_device`` is ``always`` and the rows do not fit.
    """
    if device.type == "cpu":
        return rows
    fits = True
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        fits = rows.num_bytes <= free // 2
    if keep_on_device == "always" and not fits:
        raise UserError(
            f"keep_on_device=always: {rows.num_bytes / 2**30:.1f} GiB of arrays do not fit into half of the "
            f"{free / 2**30:.1f} GiB free on {device}; use keep_on_device=auto"
        )
    if keep_on_device == "never" or not fits:
        return Batch(*(part.pin_memory() for part in rows)) if device.type == "cuda" else rows
    return Batch(*(part.to(device) for part in rows))
