"""Training: fits, losses, optimizers, callbacks."""
