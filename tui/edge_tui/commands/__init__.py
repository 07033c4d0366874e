"""The command line under its earlier name, for scripts that start it as a module."""
