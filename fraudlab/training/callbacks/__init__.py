"""Lightning callbacks that users add or leave out."""

from fraudlab.training.callbacks.best_checkpoint import BestCheckpoint
from fraudlab.training.callbacks.last_checkpoint import LastCheckpoint
from fraudlab.training.callbacks.progress import Progress
from fraudlab.training.callbacks.stop_after import StopAfter
from fraudlab.training.callbacks.trial_report import TrialReport

__all__ = ["BestCheckpoint", "LastCheckpoint", "Progress", "StopAfter", "TrialReport"]
