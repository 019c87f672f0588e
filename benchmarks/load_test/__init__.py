"""Locust users against a server, with a small report; ``python -m benchmarks.load_test`` or ``make load-test``."""
