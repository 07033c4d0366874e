"""Sentences and terms of running text, in any language, and the signs of LaTeX."""
