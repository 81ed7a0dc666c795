"""A Decoder over onnxruntime: arrays bound once and changed in place, no copy of the KV cache.

The graph's inputs and outputs follow the convention of Hugging Face's exporters. The keys and
values of the past go in and come out through the same buffers of block_size positions
(GroupQueryAttention writes the new ones in place), and the attention mask, of fixed length, says
how many of them count. So between two tokens nothing is bound, copied or allocated: an id, a
position and a bit of the mask change in arrays that onnxruntime already looks at.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from minigpt.config import GPTConfig
from minigpt.cores import free_cores
from minigpt.errors import InputError
from minigpt.runtime.decoder import check_batch, check_feed, check_rewind, check_step
from minigpt.runtime.distribution import Logits
from minigpt.runtime.draft import Pace
from minigpt.runtime.onnx_file import OnnxFile
from minigpt.runtime.onnx_graph import INPUTS, cache_names
from minigpt.runtime.onnx_session import aliasing, default_threads, open_session, run_bound
from minigpt.runtime.reader import CHUNK


class OnnxDecoder:
    """See `Decoder` for what the methods promise.

    Args of the constructor:
        file: the model.
        threads: to compute with; None: see `default_threads`.
        sparing: do not count free cores; leave them to others between tokens.

    Raises:
        InputError: onnxruntime cannot read the file after all.
    """

    def __init__(
        self, file: OnnxFile, *, threads: int | None = None, sparing: bool = False
    ) -> None:
        self._path = file.path
        self._config = config = file.config
        free = None if sparing else free_cores()
        threads = threads or default_threads(len(file.content), free)
        awake = free is not None and threads <= free
        self._session = open_session(file.path, file.content, threads, awake=awake)
        _check_signature(self._session, file)
        self._position = self.n_feeds = 0
        self._buffers = _Buffers(self._session, config, 1)
        self._positions = np.arange(config.block_size)
        self._passes: dict[int, _Pass] = {}

    @property
    def block_size(self) -> int:
        return self._config.block_size

    @property
    def vocab_size(self) -> int:
        return self._config.vocab_size

    @property
    def position(self) -> int:
        return self._position

    @cached_property
    def steady_from(self) -> int | None:
        """Tried out at the first use, on random keys and values; the cache is overwritten."""
        n = min(1 + Pace.MOST, self.block_size)  # as many as are ever fed with guesses
        start = (self.block_size - n) // 2
        rng = np.random.default_rng(0)
        for array in self._buffers.cache.values():
            array[:, :, :start] = rng.random(array[:, :, :start].shape, np.float32) - 0.5
        self._buffers.mask[:] = np.arange(self.block_size) < start
        tokens = rng.integers(0, self.vocab_size, n).tolist()

        def rows(lengths: Sequence[int]) -> Logits:
            self._position = start
            found, at = [], 0
            for length in lengths:
                found.append(self.feed(tokens[at : at + length]).copy())
                at += length
            self.rewind(start)
            return np.concatenate(found)

        whole = rows([n])
        for length in range(2, n):
            # whole passes of that length only: what is left over may be a single token
            pieces = rows([length] * (n // length))
            if not np.array_equal(whole[: len(pieces)], pieces):
                return None
        return 1 if np.array_equal(whole[:2], rows([1] * min(2, n))) else 2

    def feed(self, tokens: Sequence[int]) -> Logits:
        check_feed(self, tokens)
        self.n_feeds += 1
        start, end = self._position, self._position + len(tokens)
        each = self._passes.get(len(tokens))
        if each is None:
            each = self._buffers.bind(len(tokens))
            if len(tokens) <= 1 + Pace.MOST or len(tokens) == min(CHUNK, self.block_size // 2):
                self._passes[len(tokens)] = each  # guesses and slides come again, others rarely
        each.tokens[0] = tokens
        each.positions[0] = self._positions[start:end]
        self._buffers.mask[0, start:end] = 1
        run_bound(self._session, each.binding, self._path)
        self._position = end
        rows: Logits = each.logits[0]
        return rows

    def batch(self, n: int) -> "_OnnxBatch":
        check_batch(self._config, n)
        return _OnnxBatch(self, n)

    def beside(self) -> "OnnxDecoder":
        other = copy(self)
        other._position = 0
        other._buffers = _Buffers(self._session, self._config, 1)
        other._passes = {}
        return other

    def rewind(self, position: int) -> None:
        check_rewind(self, position)
        self._buffers.mask[0, position:] = 0  # to the end: a pass that failed has left ones there
        self._position = position


class _OnnxBatch:
    """See `Batch` for what the methods promise."""

    def __init__(self, decoder: OnnxDecoder, n: int) -> None:
        self._decoder = decoder
        self._buffers = _Buffers(decoder._session, decoder._config, n)
        self._pass = self._buffers.bind(1)
        self._position = 0

    def begin(self, row: int) -> None:
        theirs = self._decoder._buffers
        self._position = end = self._decoder.position
        self._buffers.mask[row] = theirs.mask[0]
        for name, array in self._buffers.cache.items():
            array[row, :, :end] = theirs.cache[name][0, :, :end]

    def step(self, tokens: Sequence[int]) -> Logits:
        config, at = self._decoder._config, self._position
        mask = self._buffers.mask
        check_step(tokens, len(mask), at, config.vocab_size, config.block_size)
        self._pass.tokens[:, 0] = tokens
        self._pass.positions[:] = at
        mask[:, at] = 1
        run_bound(self._decoder._session, self._pass.binding, self._decoder._path)
        self._position += 1
        rows: Logits = self._pass.logits[:, 0]
        return rows

    def reorder(self, rows: Sequence[int]) -> None:
        end = self._position
        for array in self._buffers.cache.values():
            array[:, :, :end] = array[list(rows), :, :end]


@dataclass(frozen=True, slots=True)
class _Pass:
    """A number of tokens that are read at once: arrays that onnxruntime looks at, and the call."""

    tokens: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    logits: Logits
    binding: ort.IOBinding


class _Buffers:
    """The keys and values of some texts, and how many of them count; changed in place."""

    def __init__(self, session: ort.InferenceSession, config: GPTConfig, n_rows: int) -> None:
        self._session = session
        self._config = config
        self.mask = np.zeros((n_rows, config.block_size), np.int64)
        shape = (n_rows, config.n_head, config.block_size, config.head_dim)
        self.cache = {name: np.zeros(shape, np.float32) for name in cache_names(config)}
        self._mask_value = aliasing(self.mask)
        self._cache_values = {name: aliasing(array) for name, array in self.cache.items()}

    def bind(self, n_tokens: int) -> _Pass:
        """Make the arrays for passes over so many tokens of each text."""
        tokens, positions = np.zeros((2, len(self.mask), n_tokens), np.int64)
        shape = len(self.mask), n_tokens, self._config.exported_vocab_size
        logits = np.zeros(shape, np.float32)
        binding = self._session.io_binding()
        binding.bind_ortvalue_input("input_ids", aliasing(tokens))
        binding.bind_ortvalue_input("position_ids", aliasing(positions))
        binding.bind_ortvalue_input("attention_mask", self._mask_value)
        binding.bind_ortvalue_output("logits", aliasing(logits))
        for name, value in self._cache_values.items():
            binding.bind_ortvalue_input(f"past_key_values.{name}", value)
            binding.bind_ortvalue_output(f"present.{name}", value)
        shown = logits[:, :, : self._config.vocab_size]  # without <|endoftext|>, the last column
        return _Pass(tokens, positions, shown, binding)


def _check_signature(session: ort.InferenceSession, file: OnnxFile) -> None:
    """Compare a graph's inputs and outputs with its config, before any array is made.

    Raises:
        InputError: they are not.
    """
    config = file.config
    int64, float32 = "tensor(int64)", "tensor(float)"
    expected: dict[str, tuple[str, int, dict[int, int]]] = {name: (int64, 2, {}) for name in INPUTS}
    expected["logits"] = (float32, 3, {2: config.exported_vocab_size})
    for cache in cache_names(config):
        for name in (f"past_key_values.{cache}", f"present.{cache}"):
            expected[name] = (float32, 4, {1: config.n_head, 3: config.head_dim})
    found = {each.name: each for each in (*session.get_inputs(), *session.get_outputs())}
    if set(found) != set(expected):
        raise InputError(f"{file.path} is damaged: its graph is not that of its config")
    for name, (kind, rank, fixed) in expected.items():
        shape = found[name].shape
        wanted = [fixed.get(axis, shape[axis] if axis < len(shape) else 0) for axis in range(rank)]
        if found[name].type != kind or list(shape) != wanted:
            raise InputError(
                f"{file.path} is damaged: its graph has another {name} than its config"
            )
