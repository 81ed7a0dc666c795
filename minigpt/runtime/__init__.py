r"""Running a model: needs numpy and onnxruntime, never torch or onnx.

>>> from minigpt.runtime import load
>>> model = load()  # the shipped model; load("book.onnx") for your own
>>> "".join(token.text for token in model.generate("ROMEO:", temperature=0, max_new_tokens=12))
'\nWhat is the'
"""

from minigpt.runtime.library import Model, load

__all__ = ["Model", "load"]
