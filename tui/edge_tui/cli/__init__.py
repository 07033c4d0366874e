"""The `edge` command line: one file a command group, imported when it is called."""
