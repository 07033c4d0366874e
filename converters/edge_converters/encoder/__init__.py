"""Text encoders and rerankers -> the ONNX folder that an index opens."""
