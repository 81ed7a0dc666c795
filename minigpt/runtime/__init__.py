"""Running a model: needs numpy and onnxruntime, never torch or onnx.

>>> from minigpt.runtime import load
>>> model = load("book.onnx")
>>> for token in model.generate("ROMEO:", temperature=0.8, max_new_tokens=200):
...     print(token.text, end="")
"""

from minigpt.runtime.library import Model, load

__all__ = ["Model", "load"]
