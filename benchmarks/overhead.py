"""What does a token cost outside onnxruntime? Time in its `run` against the whole decode loop.

Models of random weights (speed does not depend on what was learned), in int8:

- laptop, shakespeare: those presets over 65 characters;
- gpt2: the shape of GPT-2's smallest, 124M parameters, over 50,257 characters.

Without guesses, so that every token is a pass; default settings (top_p 0.95).

    python benchmarks/overhead.py [--tokens 400] [--rounds 5] [--shapes laptop shakespeare gpt2]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from minigpt.config import PRESETS, GPTConfig, ModelCard
from minigpt.model import GPT
from minigpt.runtime.generation import generate
from minigpt.runtime.library import load
from minigpt.runtime.model import Model
from minigpt.runtime.onnx_decoder import OnnxDecoder
from minigpt.runtime.params import SamplingParams
from minigpt.tokenizer import CharTokenizer
from minigpt_export.onnx_export import export_onnx

SHAPES: Mapping[str, GPTConfig] = {
    "laptop": replace(PRESETS["laptop"].model, vocab_size=65),
    "shakespeare": replace(PRESETS["shakespeare"].model, vocab_size=65),
    "gpt2": GPTConfig(n_layer=12, n_head=12, n_embd=768, block_size=1024, vocab_size=50_257),
}


class TimedSession:
    """Stands in for a decoder's session and adds up the time in `run`."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.seconds = 0.0

    def run_with_iobinding(self, binding: Any) -> None:
        """As the session's own."""
        began = time.perf_counter()
        self._session.run_with_iobinding(binding)
        self.seconds += time.perf_counter() - began

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


def random_model(config: GPTConfig, folder: Path) -> Model:
    """An exported model of that shape."""
    torch.manual_seed(0)
    tokenizer = CharTokenizer("".join(chr(0x10000 + i) for i in range(config.vocab_size)))
    card = ModelCard(
        name="benchmark", corpus="none", corpus_sha256="", corpus_chars=0, steps=0, val_loss=0.0,
        minigpt_version="",
    )  # fmt: skip
    path = folder / "model.onnx"
    # forced: whether int8 costs a random model too much says nothing
    export_onnx(
        GPT(config).eval(), tokenizer, card, tokenizer.chars[:65], path, precision="int8",
        force=True,
    )  # fmt: skip
    return load(path)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shapes", nargs="*", choices=SHAPES, default=list(SHAPES))
    arguments = parser.parse_args()
    params = SamplingParams(temperature=0.8, max_new_tokens=arguments.tokens)
    for name in arguments.shapes:
        with tempfile.TemporaryDirectory() as folder:
            model = random_model(SHAPES[name], Path(folder))
        decoder = model.decoder
        assert isinstance(decoder, OnnxDecoder)
        timed = decoder._session = TimedSession(decoder._session)
        inside, outside = [], []
        for _ in range(arguments.rounds + 1):
            timed.seconds, began = 0.0, time.perf_counter()
            for _ in generate(decoder, model.tokenizer, [0], lambda: params):
                pass
            total = time.perf_counter() - began
            inside.append(timed.seconds / arguments.tokens)
            outside.append((total - timed.seconds) / arguments.tokens)
        run, rest = statistics.median(inside[1:]), statistics.median(outside[1:])
        print(
            f"{name:12}{SHAPES[name].n_params():>12,} parameters: {run * 1e6:8.0f} us in run, "
            f"{rest * 1e6:6.0f} us outside ({rest / (run + rest):.1%} of a token)",
            flush=True,
        )


if __name__ == "__main__":
    main()
