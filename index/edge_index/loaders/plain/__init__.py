"""Formats that are text already: plain text, source code, tables, JSON, notebooks, mail."""
