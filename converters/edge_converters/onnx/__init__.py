"""Model folders and LoRAs -> what onnxruntime-genai runs."""
