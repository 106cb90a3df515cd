"""Losses, the training engine and the evaluation engine."""
