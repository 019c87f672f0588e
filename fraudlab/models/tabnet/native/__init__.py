"""TabNet's encoder in C for the CPU: compiled at first use, the same function, several times faster."""
