"""Searches over the settings of ``python -m fraudlab.train``: one process a trial, one study for all machines."""
