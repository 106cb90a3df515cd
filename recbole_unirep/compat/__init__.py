"""Workarounds for RecBole's faults, and the guard against pickles."""
