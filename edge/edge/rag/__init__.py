"""Answers from passages: how many are read, how they are sent, what of a reply they carry."""
