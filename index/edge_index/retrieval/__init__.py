"""From a question to ranked passages, and how likely it is that they answer it."""
