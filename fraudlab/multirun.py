"""What a multirun says when all of its runs are done."""

from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class SayHowToCompare(Callback):
    """Names the command that puts the runs side by side; of ``hydra.callbacks``."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        print(f"\nside by side: python -m fraudlab.compare runs={config.hydra.sweep.dir}")
