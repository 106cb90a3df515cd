"""Scores, ranks, protocols and metrics, and the model contract they rely on."""
