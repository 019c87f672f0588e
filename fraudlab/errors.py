"""The one exception that a user is meant to read."""

DIVERGED = "training diverged"
"""How the message of a training begins whose numbers got lost."""


class UserError(ValueError):
    """Something the user gave cannot work.

    The message names the cause and the fix in one or two sentences. A command prints it without a
    traceback and exits with status 1 (``HYDRA_FULL_ERROR=1`` shows the traceback).
    """
