"""Sentences and terms of running text, in any language."""
