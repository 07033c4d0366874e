"""Parsing in a child process, so that a document cannot hurt the one who reads it."""
