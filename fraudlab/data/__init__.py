"""From raw files to batches: sources, splits, the prepared table, batches, and the Lightning data module."""
