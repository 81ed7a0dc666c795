"""How good a model is: the loss of a batch or of a whole text, and a text of its own."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from minigpt.config import TrainConfig
from minigpt.corpus import Ids
from minigpt.model import GPT
from minigpt.runtime.generation import generate
from minigpt.runtime.params import SamplingParams
from minigpt.tokenizer import CharTokenizer
from minigpt.torch_decoder import TorchDecoder


def next_token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats: logits (B,T,V), targets (B,T)."""
    return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


@torch.inference_mode()
def evaluate(model: GPT, ids: Ids, tokens_per_batch: int = 4096) -> float:
    """Mean loss over a whole text: `runtime.evaluation.evaluate`, many windows at a time.

    Always in float32, so that the number is the exported model's number too.

    Args:
        model: left in eval mode.
        ids: the text, at least two tokens.
        tokens_per_batch: the result does not depend on it beyond rounding.
    """
    model.eval()
    device = next(model.parameters()).device
    block_size = model.config.block_size
    tokens = torch.from_numpy(ids.astype("int64")).to(device)
    n_targets = len(tokens) - 1
    n_full = n_targets // block_size
    inputs = tokens[: n_full * block_size].view(n_full, block_size)
    targets = tokens[1 : n_full * block_size + 1].view(n_full, block_size)
    rows = max(1, tokens_per_batch // block_size)
    parts = [(inputs[i : i + rows], targets[i : i + rows]) for i in range(0, n_full, rows)]
    if n_full * block_size < n_targets:
        tail = tokens[n_full * block_size :]
        parts.append((tail[None, :-1], tail[None, 1:]))
    # read together: a GPU is waited for once
    losses = torch.stack([next_token_loss(model(x), y) for x, y in parts]).tolist()
    sums = (loss * y.numel() for loss, (_, y) in zip(losses, parts, strict=True))
    return float(sum(sums)) / n_targets


def sample(model: GPT, tokenizer: CharTokenizer, config: TrainConfig) -> str:
    """A short text, always with the same random numbers, so that samples can be compared."""
    params = replace(SamplingParams(), max_new_tokens=config.sample_chars, seed=config.seed)
    tokens = generate(TorchDecoder(model), tokenizer, tokenizer.start, lambda: params)
    return "".join(token.text for token in tokens)
