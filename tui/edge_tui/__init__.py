"""Everything that a person meets in a terminal; only here are the pieces put together."""
