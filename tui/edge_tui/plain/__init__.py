"""The chat as lines of text: for screen readers, for scripts, and where no terminal can be drawn on."""
