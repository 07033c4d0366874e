"""Chats that are kept in one SQLite file: written as they go, searched, exported. No Textual here."""
