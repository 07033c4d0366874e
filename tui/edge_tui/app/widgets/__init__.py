"""The parts of the conversation screen, one file each."""
