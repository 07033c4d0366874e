"""What the commands work on: models, indexes and encoders that are opened, and what comes on standard input."""
