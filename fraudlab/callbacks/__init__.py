"""Lightning callbacks that users add or leave out."""

from fraudlab.callbacks.best_checkpoint import BestCheckpoint
from fraudlab.callbacks.last_checkpoint import LastCheckpoint
from fraudlab.callbacks.progress import Progress
from fraudlab.callbacks.stop_after import StopAfter
from fraudlab.callbacks.trial_report import TrialReport

__all__ = ["BestCheckpoint", "LastCheckpoint", "Progress", "StopAfter", "TrialReport"]
