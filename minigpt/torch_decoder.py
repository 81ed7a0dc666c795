"""A Decoder over the PyTorch model: the same decode loop as for .onnx files runs it."""

from collections.abc import Sequence

import torch

from minigpt.errors import InputError
from minigpt.model import GPT, KVCache
from minigpt.runtime.generation import check_feed, check_rewind
from minigpt.runtime.sampling import Logits


class TorchDecoder:
    """See `Decoder` for what the methods promise. The model is used where it is, in eval mode."""

    def __init__(self, model: GPT) -> None:
        self._model = model
        self._device = next(model.parameters()).device
        self._cache = KVCache(model.config, device=str(self._device))

    @property
    def block_size(self) -> int:
        return self._model.config.block_size

    @property
    def vocab_size(self) -> int:
        return self._model.config.vocab_size

    @property
    def position(self) -> int:
        return self._cache.length

    @torch.inference_mode()
    def feed(self, tokens: Sequence[int]) -> Logits:
        check_feed(self, tokens)
        self._model.eval()
        logits = self._model(torch.tensor([tokens], device=self._device), self._cache)
        row: Logits = logits[0].float().cpu().numpy()
        return row

    def rewind(self, position: int) -> None:
        check_rewind(self, position)
        self._cache.length = position


def check_device(device: str) -> None:
    """Refuse a device that is not there.

    Raises:
        InputError: an unknown name, or "cuda" on a machine without one.
    """
    if device not in ("cpu", "cuda"):
        raise InputError(f"device must be cpu or cuda, not {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "no CUDA device was found; use --device cpu, or install a CUDA build of torch"
        )
