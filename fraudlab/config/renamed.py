"""Settings that have another name now: refused where they are typed, in a command or in YAML.

Where a run folder has them, :mod:`fraudlab.runs.formats` translates them.
"""

RENAMED: dict[str, str] = {}
"""The whole key of old, e.g. ``features.delay_days``, and the one of today."""
