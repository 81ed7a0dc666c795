"""How much of a GPU's arithmetic a training uses: model FLOPs utilisation.

Chowdhery et al. (2022), "PaLM", appendix B: the operations that a model needs, done or not, over
those that the device could do in the same time. Only for devices whose peak is known.
"""

from collections.abc import Mapping

import torch

from minigpt.config import GPTConfig
from minigpt.training.precision import has_bfloat16
from minigpt.training.run import Run

PEAK_FLOPS_PER_S: Mapping[str, float] = {
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA A100-PCIE-40GB": 312e12,
    "NVIDIA A100 80GB PCIe": 312e12,
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H100 NVL": 835e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H200": 989e12,
    "NVIDIA L40S": 362e12,
    "NVIDIA GeForce RTX 4090": 165e12,
}
"""Products of bfloat16 matrices, sums in float32, nothing sparse: NVIDIA's data sheets, which give
twice as much for sparse matrices, and its paper on the Ada architecture. By the whole name, as a
laptop's RTX 4090 and a part of an H100 are slower."""


def flops_per_token(config: GPTConfig) -> float:
    """Operations of a training step per token: forward, and twice as many backward.

    6 for each weight that is multiplied, and 12 * n_layer * block_size * n_embd for attention. An
    embedding that is looked up is not multiplied; one that is the head too is, as the head.

    >>> config = GPTConfig(n_layer=12, n_head=12, n_embd=768, block_size=1024, vocab_size=50257)
    >>> round(flops_per_token(config) / 1e6)  # the 124M shape
    855
    """
    looked_up = config.block_size if config.learned_positions else 0
    looked_up += 0 if config.tie_weights else config.vocab_size
    multiplied = config.n_params() - looked_up * config.n_embd
    attention = config.n_layer * config.block_size * config.n_embd
    return 6.0 * multiplied + 12.0 * attention


def peak_flops_per_s(device: str) -> float | None:
    """What the device could do in a second; None where that is not known, or a CPU."""
    if not device.startswith("cuda") or not has_bfloat16(torch.device(device)):
        return None
    return PEAK_FLOPS_PER_S.get(torch.cuda.get_device_name(device))


def tokens_per_s_at_peak(run: Run) -> float | None:
    """How fast the run would be if its devices did nothing but multiply, or None."""
    if (peak := peak_flops_per_s(run.world.device)) is None:
        return None
    return run.world.size * peak / flops_per_token(run.model)
