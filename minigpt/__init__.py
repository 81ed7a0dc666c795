"""A small GPT to read, train on a laptop, export to one .onnx file and meet in the terminal."""

__version__ = "0.1.0"
