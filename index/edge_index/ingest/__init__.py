"""Documents in: found, read, cut into chunks, embedded, and all that again when something changed."""
