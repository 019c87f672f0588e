"""Simulated data sets in the form of real ones, for tests, speed and scale; never for a quality figure."""
