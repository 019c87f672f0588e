"""Measurements: figures over several seeds, and speed against named peers."""
