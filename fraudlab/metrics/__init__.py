"""Metrics of a fraud model, exact and with NumPy alone; `metrics` is where a split's metrics come from."""
