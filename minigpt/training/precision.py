"""How a training calculates: in float32, or bfloat16 where that is faster; and in which order."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

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


@contextmanager
def in_order() -> Iterator[None]:
    """Let compiled code add up in one order only, whatever the threads do.

    Without it torch.compile adds the gradient of an embedding by several threads as they come, and
    no two runs are the same to the bit; on two cores of a CPU it costs nothing that can be
    measured. Code is compiled anew where this changes, so the same steps are to be taken with it.
    """
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
