"""Model folders and LoRAs -> GGUF, tokenizers and quantisation included."""
