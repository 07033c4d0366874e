"""Where a person types: the prompt, completion, history, pasted texts."""
