"""A Decoder over the PyTorch model: the same decode loop as for .onnx files runs it."""

import os
from collections.abc import Sequence

import torch

from minigpt.errors import InputError
from minigpt.model import GPT, KVCache
from minigpt.runtime.decoder import check_batch, check_feed, check_rewind, check_step
from minigpt.runtime.distribution import Logits


class TorchDecoder:
    """See `Decoder` for what the methods promise. The model is used where it is, in eval mode."""

    def __init__(self, model: GPT) -> None:
        self._model = model
        self._device = next(model.parameters()).device
        self._cache = KVCache(model.config, device=str(self._device))
        self.n_feeds = 0

    @property
    def block_size(self) -> int:
        return self._model.config.block_size

    @property
    def vocab_size(self) -> int:
        return self._model.config.vocab_size

    @property
    def position(self) -> int:
        return self._cache.length

    @property
    def steady_from(self) -> None:
        """PyTorch promises nothing of the kind."""

    @torch.inference_mode()
    def feed(self, tokens: Sequence[int]) -> Logits:
        check_feed(self, tokens)
        self.n_feeds += 1
        self._model.eval()
        logits = self._model(torch.tensor([tokens], device=self._device), self._cache)
        row: Logits = logits[0].float().cpu().numpy()
        return row

    def batch(self, n: int) -> "_TorchBatch":
        check_batch(self._model.config, n)
        return _TorchBatch(self._model, self._cache, n)

    def beside(self) -> "TorchDecoder":
        return TorchDecoder(self._model)

    def rewind(self, position: int) -> None:
        check_rewind(self, position)
        self._cache.length = position


class _TorchBatch:
    """See `Batch` for what the methods promise."""

    def __init__(self, model: GPT, source: KVCache, n: int) -> None:
        self._model = model
        self._source = source
        self._device = next(model.parameters()).device
        self._cache = KVCache(model.config, n, str(self._device))

    def begin(self, row: int) -> None:
        self._cache.length = self._source.length
        for mine, theirs in zip(self._cache.layers, self._source.layers, strict=True):
            mine[:, row] = theirs[:, 0]

    @torch.inference_mode()
    def step(self, tokens: Sequence[int]) -> Logits:
        config = self._model.config
        n_rows = self._cache.layers[0].size(1)
        check_step(tokens, n_rows, self._cache.length, config.vocab_size, config.block_size)
        logits = self._model(torch.tensor(tokens, device=self._device)[:, None], self._cache)
        rows: Logits = logits[:, 0].float().cpu().numpy()
        return rows

    def reorder(self, rows: Sequence[int]) -> None:
        for i, layer in enumerate(self._cache.layers):
            self._cache.layers[i] = layer[:, list(rows)]


def check_device(device: str) -> None:
    """Refuse a device that is not there, or does not work.

    Raises:
        InputError: an unknown name, or "cuda" on a machine without one that works.
    """
    if device not in ("cpu", "cuda"):
        raise InputError(f"device must be cpu or cuda, not {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "no CUDA device was found; use --device cpu, or install a CUDA build of torch"
        )
    if device == "cuda" and "LOCAL_RANK" not in os.environ:  # of several processes each has its own
        try:  # one that is too old for this torch is found all the same, and one that is taken
            torch.zeros(1, device=device).add_(1).item()
        except RuntimeError as error:
            why = str(error).splitlines()[0]
            raise InputError(f"the CUDA device cannot be used ({why}); use --device cpu") from None
