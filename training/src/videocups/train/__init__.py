"""Training: one loop, its checkpoints, and windows of clips as training data."""
