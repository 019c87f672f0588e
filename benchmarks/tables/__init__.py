"""Tables that differ: fraudlab's defaults against plain scripts; ``python -m benchmarks.tables``."""
