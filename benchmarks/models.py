"""Models to measure: random weights, because speed does not depend on what was learned."""

from dataclasses import replace
from pathlib import Path

import torch

from minigpt.config import GPTConfig, ModelCard
from minigpt.model import GPT
from minigpt.runtime.onnx_graph import Precision
from minigpt.tokenizer import CharTokenizer
from minigpt_export.onnx_export import export_onnx

VOCAB_SIZE = 65
"""Of tiny Shakespeare."""

TOKENIZER = CharTokenizer("".join(chr(ord("0") + i) for i in range(VOCAB_SIZE)))

_CARD = ModelCard(
    name="benchmark",
    corpus="none",
    corpus_sha256="",
    corpus_chars=0,
    steps=0,
    val_loss=0.0,
    minigpt_version="",
)


def random_model(config: GPTConfig) -> GPT:
    """A model in which every weight takes part (a fresh one's blocks add nothing yet).

    The blocks' matrices are large enough that its greedy text does not repeat one token.
    """
    torch.manual_seed(0)
    model = GPT(replace(config, vocab_size=VOCAB_SIZE)).eval()
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2:
            gain = 2.0 if name.startswith("h.") else 1.0
            torch.nn.init.normal_(parameter, std=gain * parameter.size(1) ** -0.5)
        else:
            torch.nn.init.normal_(parameter, mean=float(name.endswith("weight")), std=0.1)
    return model


def export_model(model: GPT, precision: Precision, folder: Path) -> Path:
    """Write the .onnx file of a model; returns its path."""
    path = folder / f"minigpt-{precision}.onnx"
    text = 8 * TOKENIZER.chars
    # what random weights lose by rounding says nothing: written whatever it is
    export_onnx(model, TOKENIZER, _CARD, text, path, precision=precision, force=True)
    return path
