"""How fast and how hard to break the server is; ``python -m benchmarks.serving``."""
