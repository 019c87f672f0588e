"""Which features to leave out, from training rows alone: those that do not last, and those that repeat others."""
