"""Models of random weights for the tests that have PyTorch."""

import torch

from minigpt.config import GPTConfig
from minigpt.model import GPT


def random_gpt(config: GPTConfig, *, seed: int = 0) -> GPT:
    """Every weight random, biases and norms too, so that none of them can be left out unseen."""
    torch.manual_seed(seed)
    model = GPT(config)
    for parameter in model.parameters():
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, mean=0.5, std=0.3)
        else:
            torch.nn.init.normal_(parameter, std=0.15)
    return model.eval()
