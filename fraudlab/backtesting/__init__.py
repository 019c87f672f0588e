"""Backtests: a training moved through time, tested window by window."""
