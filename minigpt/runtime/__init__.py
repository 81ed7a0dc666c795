r"""Running a model: needs numpy and onnxruntime, never torch or onnx.

>>> from minigpt.runtime import load
>>> model = load()  # the larger one that ships; load("book.onnx") for your own
>>> "".join(token.text for token in model.generate("ROMEO:", temperature=0, max_new_tokens=12))
'\nWhat is the'
"""

import os

from minigpt.runtime.library import load
from minigpt.runtime.model import Model

# Before any module of this package imports onnxruntime: its wheels send telemetry from the first
# import on, and a device id and a database would be written to the user's cache folder.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__all__ = ["Model", "load"]
