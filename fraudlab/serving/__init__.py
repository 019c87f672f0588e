"""A bundle behind HTTP: LitServe runs the worker processes, what it leaves open is closed here (docs/serving.md)."""
