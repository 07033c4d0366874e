"""This machine: its paths, memory, files, locks and processes, and its network kept unused."""
