"""A terminal in which to meet a model: Textual and the runtime, never torch or onnx."""
