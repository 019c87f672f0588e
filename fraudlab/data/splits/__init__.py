"""Splits: which rows a model may learn from, is chosen on, and is tested on."""
