"""Models that are no networks, a module a library; NumPy arrays in, probabilities out, no pickle on disk."""
