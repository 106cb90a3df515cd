"""Writes reports as Markdown and HTML pages."""
