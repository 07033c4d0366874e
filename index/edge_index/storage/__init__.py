"""One SQLite file that holds everything that is known: its schema, tables, lock and export."""
