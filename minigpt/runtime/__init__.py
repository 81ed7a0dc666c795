"""Running a model: needs numpy and onnxruntime, never torch or onnx."""
