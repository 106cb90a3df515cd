"""Commands for the shell, one per file."""
