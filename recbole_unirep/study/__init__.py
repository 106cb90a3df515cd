"""Several runs, one protocol, one report."""
