"""Formats whose text carries markup: HTML, Markdown, reStructuredText, LaTeX, e-books."""
