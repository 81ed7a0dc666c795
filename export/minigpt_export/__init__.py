"""From a trained model to one .onnx file; needs the `train` extra (torch and onnx)."""
