"""Measurements: metrics over several seeds, and speed against named peers."""
