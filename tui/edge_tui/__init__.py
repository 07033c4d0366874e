"""Everything that a person meets in a terminal: the command line and the chat app. Only here pieces meet."""
