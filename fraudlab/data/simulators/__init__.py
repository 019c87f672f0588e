"""Data sets made up in the form of real ones, for tests, speed and scale; never for a figure."""
