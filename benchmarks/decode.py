"""How much faster is the exported model than sampling by recomputing the window?

Several ways to go on from a full window with a model of the `shakespeare` preset's shape (random
weights: speed does not depend on what was learned), one after the other in each round, so that a
busy machine slows all of them alike:

- recompute: PyTorch, the whole window again for every token, as many classroom GPTs sample;
- torch: PyTorch with the KV cache, through minigpt's decode loop;
- onnx: onnxruntime, the exported file in each precision, through the same loop.

    python benchmarks/decode.py [--preset shakespeare] [--tokens 256] [--rounds 5]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from minigpt.config import PRESETS, ModelCard
from minigpt.model import GPT
from minigpt.runtime.decoder import Decoder
from minigpt.runtime.generation import generate
from minigpt.runtime.library import load
from minigpt.runtime.params import SamplingParams
from minigpt.tokenizer import CharTokenizer
from minigpt.torch_decoder import TorchDecoder
from minigpt_export.onnx_export import export_onnx
from minigpt_export.quantize import PRECISIONS


@torch.inference_mode()
def recompute(model: GPT, n_tokens: int) -> None:
    """Sample as the plainest code does: crop, run everything, take the last row, draw."""
    window = model.config.block_size
    tokens = torch.zeros((1, window), dtype=torch.int64)
    for _ in range(n_tokens):
        logits = model(tokens[:, -window:])[:, -1] / 0.8
        tokens = torch.cat((tokens, torch.multinomial(logits.softmax(-1), 1)), dim=1)


def through_the_loop(decoder: Decoder, tokenizer: CharTokenizer, n_tokens: int) -> None:
    """Sample with the KV cache, one token a step; the window slides, which is paid for here."""
    params = SamplingParams(temperature=0.8, max_new_tokens=n_tokens)
    for _ in generate(decoder, tokenizer, [0] * decoder.block_size, lambda: params):
        pass


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="shakespeare", choices=PRESETS)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    tokenizer = CharTokenizer("".join(chr(ord("0") + i) for i in range(65)))
    config = replace(PRESETS[arguments.preset].model, vocab_size=65)
    torch.manual_seed(0)
    model = GPT(config).eval()
    card = ModelCard(
        name="benchmark",
        corpus="none",
        corpus_sha256="",
        corpus_chars=0,
        steps=0,
        val_loss=0.0,
        minigpt_version="",
    )
    torch_decoder = TorchDecoder(model)
    ways: dict[str, Callable[[], None]] = {
        "recompute": lambda: recompute(model, arguments.tokens),
        "torch": lambda: through_the_loop(torch_decoder, tokenizer, arguments.tokens),
    }
    with tempfile.TemporaryDirectory() as folder:
        for precision in PRECISIONS:
            path = Path(folder) / f"{precision}.onnx"
            text = 8 * tokenizer.chars
            export_onnx(model, tokenizer, card, text, path, precision=precision)
            decoder = load(path).decoder
            ways[f"onnx {precision}"] = partial(
                through_the_loop, decoder, tokenizer, arguments.tokens
            )
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(arguments.rounds):
        for name, write in ways.items():
            began = time.perf_counter()
            write()
            speeds[name].append(arguments.tokens / (time.perf_counter() - began))
    print(f"{config.n_params():,} parameters, {arguments.tokens} tokens, {arguments.rounds} rounds")
    for name, found in speeds.items():
        ratio = statistics.median(a / b for a, b in zip(found, speeds["recompute"], strict=True))
        print(f"{name:10} {statistics.median(found):8,.0f} tokens/s   {ratio:5.1f} x recompute")


if __name__ == "__main__":
    main()
