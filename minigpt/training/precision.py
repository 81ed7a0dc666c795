"""Which numbers a training multiplies: float32, or bfloat16 where that is faster."""

from contextlib import AbstractContextManager, nullcontext

import torch


def has_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies in it: GPUs before Ampere do so more slowly in software."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # private, and the only way to ask; without it float32 is always right
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return bool(supported())


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 matrix products where the hardware has them; elsewhere they would be slower.

    Attention on a CPU is excepted: see `fused_attention`.
    """
    fast = has_bfloat16(device)
    return torch.autocast(device.type, dtype=torch.bfloat16) if fast else nullcontext()
