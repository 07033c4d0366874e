"""Vector search: an exact scan of one mapped file, HNSW graphs for large indexes, and the checks of both."""
