"""Scores, ranks, protocols and metrics, and what they ask of a model."""
