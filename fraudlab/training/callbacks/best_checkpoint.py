"""Keeps the best checkpoint of a fit."""

import logging
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import ModelCheckpoint

from fraudlab.training.checks import first_that_counts

log = logging.getLogger(__name__)


class BestCheckpoint(ModelCheckpoint):
    """``best.ckpt`` by what is monitored on validation, in the folder that the fit sets as ``dirpath``.

    Args:
        monitor: which metric.
        mode: whether ``max`` or ``min`` of it is best.
        every_n_epochs: how often to save.
        after: share of ``trainer.max_epochs``, in [0, 1), none of which counts once it is over: while the rate is
            high a network is best by chance, the more so the fewer frauds the validation has. So a fit takes it as 0
            without a schedule over the whole fit (``total_steps``).
    """

    def __init__(
        self,
        monitor: str = "val/average_precision",
        mode: str = "max",
        every_n_epochs: int = 1,
        after: float = 0.0,
        **kwargs: Any,
    ) -> None:
        if not 0 <= after < 1:
            raise ValueError(f"after={after} must lie in [0, 1)")
        super().__init__(
            filename="best",
            monitor=monitor,
            mode=mode,
            every_n_epochs=every_n_epochs,
            save_last=False,  # LastCheckpoint does
            enable_version_counter=False,
            **kwargs,
        )
        self.after = after
        self._dropped: float | None = None  # the best value of the epochs that do not count

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget what was best when the epochs begin that count."""
        if self.after and trainer.current_epoch == first_that_counts(self.after, trainer.max_epochs or 0):
            self._dropped = None if self.best_model_score is None else float(self.best_model_score)
            self.best_k_models, self.best_model_score = {}, None
            self.best_model_path = self.kth_best_model_path = ""

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_end(trainer, pl_module)
        if self._dropped is None or self.best_model_score is None:
            return
        kept = float(self.best_model_score)
        if self._dropped > kept if self.mode == "max" else self._dropped < kept:
            log.info(
                "an earlier epoch had %s %.4f, the one that is kept %.4f: no epoch before %.0f %% of the fit counts "
                "(callbacks.*.after=0 counts all)", self.monitor, self._dropped, kept, 100 * self.after,
            )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "dropped": self._dropped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As Lightning's, but for a run folder that has moved since."""
        before, now = str(state_dict["dirpath"]), str(self.dirpath)

        def moved(path: str) -> str:
            return path.replace(before, now, 1)

        paths = ("dirpath", "best_model_path", "kth_best_model_path", "last_model_path")
        best = {moved(path): metric for path, metric in state_dict["best_k_models"].items()}
        self.current_score = state_dict["current_score"]
        self._dropped = state_dict.get("dropped")  # None in a checkpoint of an earlier version
        super().load_state_dict(
            {**state_dict, **{key: moved(str(state_dict[key])) for key in paths}, "best_k_models": best}
        )
