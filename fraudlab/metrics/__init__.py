"""Figures of a fraud model, exact and with NumPy alone; `figures` is where a split's figures come from."""
