"""Features and their encoding, shared by training and serving: NumPy and Polars alone."""
