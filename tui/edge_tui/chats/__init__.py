"""Chats that are kept: one SQLite file in the data directory, its search and its exports. No Textual here."""
