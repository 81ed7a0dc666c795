"""A Decoder over onnxruntime on an NVIDIA GPU: the KV cache stays there.

Between two tokens some bytes go there (an id, a position, the mask) and a row of logits comes back,
as sampling is done where `sampling.py` is. Where several texts are written side by side, their
caches are begun and reordered by way of the CPU. A GPU pays where a pass is long: for models of
many millions of parameters, and for prompts.
"""

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from minigpt.errors import InputError
from minigpt.runtime.cuda_graph import cuda_graph
from minigpt.runtime.decoder import check_batch, check_feed, check_rewind, check_step
from minigpt.runtime.distribution import Logits
from minigpt.runtime.onnx_file import OnnxFile
from minigpt.runtime.onnx_graph import cache_names
from minigpt.runtime.onnx_session import ORT_ERRORS, aliasing, first_line, open_session
from minigpt.runtime.reader import CHUNK

CUDA = "CUDAExecutionProvider"


class CudaDecoder:
    """See `Decoder` for what the methods promise.

    Args of the constructor:
        file: any model file that was checked.
        device: "cuda"; or "cpu", which computes the same graph there, to compare with.

    Raises:
        InputError: there is no onnxruntime for GPUs, or no GPU that it can use.
    """

    def __init__(self, file: OnnxFile, *, device: str = "cuda") -> None:
        self._file, self._device = file, device
        self._session = _cuda_session(file) if device == "cuda" else _cpu_session(file)
        self._position = self.n_feeds = 0
        self._buffers = _Buffers(self, 1)
        self._passes: dict[int, _Pass] = {}

    @property
    def block_size(self) -> int:
        return self._file.config.block_size

    @property
    def vocab_size(self) -> int:
        return self._file.config.vocab_size

    @property
    def position(self) -> int:
        return self._position

    @property
    def steady_from(self) -> None:
        """A GPU computes passes of different lengths by different kernels."""

    def feed(self, tokens: Sequence[int]) -> Logits:
        check_feed(self, tokens)
        self.n_feeds += 1
        start, end = self._position, self._position + len(tokens)
        each = self._passes.get(len(tokens))
        if each is None:
            each = self._buffers.bind(len(tokens))
            if len(tokens) in (1, min(CHUNK, self.block_size // 2)):
                self._passes[len(tokens)] = each  # tokens and slides come again, others rarely
        self._buffers.mask[0, start:end] = 1
        rows = self._buffers.run(each, np.array([tokens]), np.arange(start, end)[None])
        self._position = end
        first: Logits = rows[0]
        return first

    def batch(self, n: int) -> "_CudaBatch":
        check_batch(self._file.config, n)
        return _CudaBatch(self, n)

    def beside(self) -> "CudaDecoder":
        other = copy(self)
        other._position = 0
        other._buffers = _Buffers(other, 1)
        other._passes = {}
        return other

    def rewind(self, position: int) -> None:
        check_rewind(self, position)
        self._buffers.mask[0, position:] = 0  # to the end: a pass that failed has left ones there
        self._position = position


class _CudaBatch:
    """See `Batch` for what the methods promise."""

    def __init__(self, decoder: CudaDecoder, n: int) -> None:
        self._decoder = decoder
        self._buffers = _Buffers(decoder, n)
        self._pass = self._buffers.bind(1)
        self._position = 0
        self._begun: dict[str, npt.NDArray[np.float16]] = {}
        """Caches that are to go to the device, when all rows are begun."""
        self._last: tuple[int, dict[str, npt.NDArray[np.float16]]] = (-1, {})
        """The decoder's passes, and its caches, when a row was begun last: others begin alike."""

    def begin(self, row: int) -> None:
        theirs = self._decoder._buffers
        self._position = self._decoder.position
        self._buffers.mask[row] = theirs.mask[0]
        if self._last[0] != self._decoder.n_feeds:
            read = {name: value.numpy().copy() for name, value in theirs.cache.items()}
            self._last = (self._decoder.n_feeds, read)
        for name, value in self._buffers.cache.items():
            if name not in self._begun:
                self._begun[name] = value.numpy().copy()
            self._begun[name][row] = self._last[1][name][0]

    def step(self, tokens: Sequence[int]) -> Logits:
        config, at, mask = self._decoder._file.config, self._position, self._buffers.mask
        check_step(tokens, len(mask), at, config.vocab_size, config.block_size)
        mask[:, at] = 1
        self._buffers.put(self._begun)
        self._begun, self._last = {}, (-1, {})
        ids, positions = np.array(tokens)[:, None], np.full((len(tokens), 1), at)
        rows: Logits = self._buffers.run(self._pass, ids, positions)[:, 0]
        self._position += 1
        return rows

    def reorder(self, rows: Sequence[int]) -> None:
        there = {name: value.numpy() for name, value in self._buffers.cache.items()}
        newest = there | self._begun
        self._buffers.put({name: array[list(rows)] for name, array in newest.items()})
        self._begun = {}


@dataclass(frozen=True, slots=True)
class _Pass:
    """A number of tokens that are read at once: where they go, what comes back, and the call."""

    tokens: ort.OrtValue
    positions: ort.OrtValue
    logits: Logits
    binding: ort.IOBinding


class _Buffers:
    """The keys and values of some texts, on the device, and how many of them count."""

    def __init__(self, decoder: CudaDecoder, n_rows: int) -> None:
        self._session, self._path = decoder._session, decoder._file.path
        self._config = config = decoder._file.config
        self._device = decoder._device
        shape = n_rows, config.n_head, config.block_size, config.head_dim
        self.mask = np.zeros((n_rows, config.block_size), np.int64)
        self._mask = self._there(self.mask.copy())  # which "cpu" would alias
        self.cache = {
            name: self._there(np.zeros(shape, np.float16)) for name in cache_names(config)
        }

    def bind(self, n_tokens: int) -> _Pass:
        """Make room for passes over so many tokens of each text."""
        n_rows, config = len(self.mask), self._config
        tokens, positions = (self._there(np.zeros((n_rows, n_tokens), np.int64)) for _ in range(2))
        logits = np.zeros((n_rows, n_tokens, config.exported_vocab_size), np.float32)
        binding = self._session.io_binding()
        binding.bind_ortvalue_input("input_ids", tokens)
        binding.bind_ortvalue_input("position_ids", positions)
        binding.bind_ortvalue_input("attention_mask", self._mask)
        binding.bind_ortvalue_output("logits", aliasing(logits))  # here: a run ends when they came
        for name, value in self.cache.items():
            binding.bind_ortvalue_input(f"past_key_values.{name}", value)
            binding.bind_ortvalue_output(f"present.{name}", value)
        return _Pass(tokens, positions, logits[:, :, : config.vocab_size], binding)

    def run(
        self, each: _Pass, tokens: npt.NDArray[np.int64], positions: npt.NDArray[np.int64]
    ) -> Logits:
        """Read tokens at positions, both (B,T); the logits after them (B,T,V)."""
        with _told(self._path):
            # update_inplace copies bytes and does not look at types; numpy's int may have 32 bits
            each.tokens.update_inplace(tokens.astype(np.int64))
            each.positions.update_inplace(positions.astype(np.int64))
            self._mask.update_inplace(self.mask)
            self._session.run_with_iobinding(each.binding)
        return each.logits

    def put(self, arrays: Mapping[str, npt.NDArray[np.float16]]) -> None:
        """Overwrite caches, by name."""
        with _told(self._path):
            for name, array in arrays.items():
                self.cache[name].update_inplace(array)

    def _there(self, array: np.ndarray[Any, Any]) -> ort.OrtValue:
        """An array on the device."""
        with _told(self._path):
            return ort.OrtValue.ortvalue_from_numpy(array, self._device, 0)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """What goes wrong on the device, memory that is short above all, in a sentence."""
    try:
        yield
    except ORT_ERRORS as error:
        raise InputError(f"{path} cannot be run on this GPU: {first_line(error)}") from None


def _cpu_session(file: OnnxFile) -> ort.InferenceSession:
    return open_session(file.path, cuda_graph(file), 1)


def _cuda_session(file: OnnxFile) -> ort.InferenceSession:
    # TF32 would keep 10 of the 23 bits of every product
    providers = ((CUDA, {"use_tf32": "0"}), "CPUExecutionProvider")
    with contextlib.redirect_stdout(sys.stderr):  # what it misses, it prints
        ort.preload_dlls()
        if CUDA not in ort.get_available_providers():
            raise InputError(
                "this onnxruntime runs on the CPU alone; use --device cpu, or put another in its "
                "place: pip uninstall onnxruntime onnxruntime-gpu, then "
                'pip install "onnxruntime-gpu[cuda,cudnn]"'
            )
        session = open_session(file.path, cuda_graph(file), 1, providers)
    if CUDA not in session.get_providers():
        raise InputError(
            "onnxruntime-gpu found no GPU that it can use: it needs an NVIDIA driver, CUDA and "
            'cuDNN (pip install "onnxruntime-gpu[cuda,cudnn]"); --device cpu goes without'
        )
    return session
