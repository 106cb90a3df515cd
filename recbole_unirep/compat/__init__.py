"""Workarounds for bugs of RecBole 1.2.1, and the guard against unsafe pickles."""
