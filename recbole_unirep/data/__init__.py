"""Sequences, candidates and item text of a dataset, aligned with RecBole's numbering."""
