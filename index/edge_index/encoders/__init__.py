"""Models that score texts: encoders make vectors of them, rerankers judge pairs."""
