"""Splits: the training, validation and test rows of a model."""
