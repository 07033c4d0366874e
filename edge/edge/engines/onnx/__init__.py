"""ONNX models on onnxruntime-genai: the engine, its bindings, and the checks of a model's configuration."""
