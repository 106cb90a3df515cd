"""Sequences, candidates and item text of a dataset, indexed by RecBole's ids."""
