"""Losses by which networks learn."""
