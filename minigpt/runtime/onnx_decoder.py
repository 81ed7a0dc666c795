"""A Decoder over onnxruntime: arrays bound once and changed in place, no copy of the KV cache.

The graph's inputs and outputs follow the convention of Hugging Face's exporters. The keys and
values of the past go in and come out through the same buffers of block_size positions
(GroupQueryAttention writes the new ones in place), and the attention mask, of fixed length, says
how many of them count. So between two tokens nothing is bound, copied or allocated: an id, a
position and a bit of the mask change in arrays that onnxruntime already looks at.
"""

import os
from collections.abc import Sequence
from typing import Any

# Before the import: onnxruntime's wheels send telemetry from the first import on, and a device id
# and a database would be written to the user's cache folder.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from minigpt.errors import InputError
from minigpt.runtime.generation import check_feed, check_rewind
from minigpt.runtime.onnx_file import OnnxFile
from minigpt.runtime.sampling import Logits

SMALL_MODEL_PARAMS = 3_000_000
"""Up to here one thread decodes as fast as two: handing work over costs what it saves."""

# onnxruntime's exceptions have no base class of their own; these are what a bad file raises
_ORT_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)


class OnnxDecoder:
    """See `Decoder` for what the methods promise.

    Raises:
        InputError: onnxruntime cannot read the file after all.
    """

    def __init__(self, file: OnnxFile, *, threads: int | None = None) -> None:
        self._path = file.path
        self._config = config = file.config
        self._session = _session(file, threads or default_threads(config.n_params()))
        _check_signature(self._session, file)
        self._position = 0
        self._tokens = np.zeros((1, 1), np.int64)
        self._positions = np.zeros((1, 1), np.int64)
        self._mask = np.zeros((1, config.block_size), np.int64)
        self._logits = np.zeros((1, 1, config.vocab_size), np.float32)
        cache_shape = (1, config.n_head, config.block_size, config.head_dim)
        self._mask_value = _aliasing(self._mask)
        self._cache = {
            f"{i}.{side}": _aliasing(np.zeros(cache_shape, np.float32))
            for i in range(config.n_layer)
            for side in ("key", "value")
        }
        self._one_token = self._bind(self._tokens, self._positions, self._logits)

    @property
    def block_size(self) -> int:
        return self._config.block_size

    @property
    def vocab_size(self) -> int:
        return self._config.vocab_size

    @property
    def position(self) -> int:
        return self._position

    def feed(self, tokens: Sequence[int]) -> Logits:
        check_feed(self, tokens)
        start, end = self._position, self._position + len(tokens)
        self._mask[0, start:end] = 1
        if len(tokens) == 1:
            self._tokens[0, 0] = tokens[0]
            self._positions[0, 0] = start
            self._run(self._one_token)
            logits = self._logits
        else:
            # a prompt comes once: its arrays are made for it
            logits = np.zeros((1, len(tokens), self.vocab_size), np.float32)
            ids = np.array([tokens], np.int64)
            positions = np.arange(start, end, dtype=np.int64)[None]
            self._run(self._bind(ids, positions, logits))
        self._position = end
        rows: Logits = logits[0]
        return rows

    def rewind(self, position: int) -> None:
        check_rewind(self, position)
        self._mask[0, position : self._position] = 0
        self._position = position

    def _run(self, binding: ort.IOBinding) -> None:
        try:
            self._session.run_with_iobinding(binding)
        except (RuntimeError, *_ORT_ERRORS) as error:
            raise InputError(f"{self._path} is damaged: {_first_line(error)}") from None

    def _bind(
        self, tokens: np.ndarray[Any, Any], positions: np.ndarray[Any, Any], logits: Logits
    ) -> ort.IOBinding:
        binding = self._session.io_binding()
        binding.bind_ortvalue_input("input_ids", _aliasing(tokens))
        binding.bind_ortvalue_input("position_ids", _aliasing(positions))
        binding.bind_ortvalue_input("attention_mask", self._mask_value)
        binding.bind_ortvalue_output("logits", _aliasing(logits))
        for name, value in self._cache.items():
            binding.bind_ortvalue_input(f"past_key_values.{name}", value)
            binding.bind_ortvalue_output(f"present.{name}", value)
        return binding


def default_threads(n_params: int) -> int:
    """Threads for decoding a model of that size: one if it is small, else all cores we may use.

    The affinity counts, not the machine: a container may own two cores of sixty-four.
    """
    if n_params <= SMALL_MODEL_PARAMS:
        return 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _session(file: OnnxFile, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4  # nothing native on stderr: errors are raised as well
    # What was checked is an ONNX file; without this the bytes could choose another parser.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # Waiting threads spin within a run, or waking them costs a quarter of the speed (10.8M, two
    # threads: 363 against 462 tokens/s), and sleep between runs, while a person reads.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # not session.set_denormal_as_zero: it would change all arithmetic of the calling thread
    try:
        return ort.InferenceSession(file.content, options, providers=["CPUExecutionProvider"])
    except _ORT_ERRORS as error:
        raise InputError(f"onnxruntime cannot read {file.path}: {_first_line(error)}") from None


def _check_signature(session: ort.InferenceSession, file: OnnxFile) -> None:
    """Compare a graph's inputs and outputs with its config, before any array is made.

    Raises:
        InputError: they are not.
    """
    config = file.config
    int64, float32 = "tensor(int64)", "tensor(float)"
    expected: dict[str, tuple[str, int, dict[int, int]]] = {
        name: (int64, 2, {}) for name in ("input_ids", "position_ids", "attention_mask")
    }
    expected["logits"] = (float32, 3, {2: config.vocab_size})
    for i in range(config.n_layer):
        for side in ("key", "value"):
            fixed = {1: config.n_head, 3: config.head_dim}
            expected[f"past_key_values.{i}.{side}"] = (float32, 4, fixed)
            expected[f"present.{i}.{side}"] = (float32, 4, fixed)
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


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _aliasing(array: np.ndarray[Any, Any]) -> ort.OrtValue:
    """An OrtValue over the array's own memory, which keeps the array alive."""
    return ort.OrtValue.ortvalue_from_numpy(array)
