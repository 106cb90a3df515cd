"""Semantic IDs code by code: the IDs of a catalogue as a trie, the best ones of it, the likelihood of any."""
