"""The run folder: its files, its settings, what it records."""
