"""Documents written as Markdown and HTML pages."""
