"""Generates semantic IDs code by code: prefix trie of the catalogue, beam search, likelihoods of given IDs."""
