"""Grids of runs under one protocol, tuning, comparisons, inspection and reports."""
