"""fraudlab: train, measure and serve transaction-fraud models.

Importing the package imports nothing heavy; see ``docs/architecture.md`` for its packages.
"""

__version__ = "0.1.0"
