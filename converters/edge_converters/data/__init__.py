"""Training examples: read in every common format, checked, counted, converted and split."""
