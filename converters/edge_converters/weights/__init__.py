"""A model folder's tensors, memory-mapped and computed in chunks on all cores."""
