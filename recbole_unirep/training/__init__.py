"""Losses, optimizer steps, checkpoints and the training engine."""
