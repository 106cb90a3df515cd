"""Semantic IDs written code by code: a catalogue's prefix tree, beam search in it, the likelihood of given IDs."""
