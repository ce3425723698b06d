"""Checkpoints of other programs (detectron2's names) as checkpoints of our own."""
