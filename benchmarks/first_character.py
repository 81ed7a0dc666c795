"""What `minigpt generate` does until its first character, step by step, with a clock.

`startup.py` runs this in a process of its own. It prints one JSON object: what the clock showed
after each step. The clock is the system's, so that whoever started the process can go on from its
own reading (`time.perf_counter` counts from the same moment in all processes).

    python benchmarks/first_character.py [MODEL]
"""

import time

readings = {"the interpreter": time.perf_counter()}

import json  # noqa: E402
import sys  # noqa: E402
from importlib import import_module  # noqa: E402

IMPORTS = (
    "minigpt.cli",
    "numpy",
    "minigpt.runtime.generation",
    "minigpt.runtime.onnx_decoder",  # which imports onnxruntime
)


def main(name: str | None) -> None:
    """Open a model and draw two characters, in the order of the command."""
    for module in IMPORTS:
        import_module(module)
        readings[f"import {module}"] = time.perf_counter()

    from minigpt.runtime import generation, library, onnx_decoder, onnx_file
    from minigpt.runtime.params import SamplingParams

    file = onnx_file.open_onnx(library.find_model(name))
    readings["read and check the file"] = time.perf_counter()

    decoder = onnx_decoder.OnnxDecoder(file)
    readings["open the session"] = time.perf_counter()

    params = SamplingParams()
    ids = file.tokenizer.encode("ROMEO:")
    tokens = generation.generate(decoder, file.tokenizer, ids, lambda: params)
    next(tokens)
    readings["read the prompt, draw"] = time.perf_counter()

    next(tokens)
    readings["the second character"] = time.perf_counter()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
    print(json.dumps(readings))
