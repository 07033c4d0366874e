"""GGUF models on llama.cpp: the engine, its bindings, the checks of a header, kept KV caches."""
