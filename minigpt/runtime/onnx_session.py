"""Sessions of onnxruntime: how many threads, which options, and its errors as sentences."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from minigpt.cores import usable_cores
from minigpt.errors import InputError

SMALL_ASLEEP, SMALL_AWAKE = 3_300_000, 1_200_000
"""Bytes of a file up to which one thread decodes as fast as two: handing work over costs too.

By benchmarks/threads.py, two threads over one, asleep between tokens: 0.95 at 0.8 MB, 0.99 at 0.9
MB, 1.08 at 3.2 MB, 1.09 at 3.7 MB, 1.20 at 5.3 MB, 1.35 at 11 MB, 1.71 at 43 MB. Awake, on a newer
processor: 0.90 at 0.8 MB, 0.97 at 0.9 MB, 1.15 at 1.7 MB, 1.29 at 3.2 MB, 1.62 at 43 MB.
"""

SPIN_US = "1000"
"""How long threads stay awake: longer than it takes to draw a token, 0.1 ms of 65 and 0.6 ms of
50,257."""

# These have no base class of their own.
ORT_ERRORS = (
    ort_errors.EPFail,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    RuntimeError,
)
"""What onnxruntime raises over a bad file, or where memory is short."""


def default_threads(n_bytes: int, free: int | None = None) -> int:
    """Threads for decoding a file of that size: one if it is small, else a thread for each core.

    Args:
        n_bytes: of the file.
        free: cores that nobody else wants, if it is known how many: then there are no more threads
            than that, and they stay awake between tokens. (10.8M in 8 bits on two cores, of which
            another process wants one: 948 tokens/s with two threads, 1,250 with one.)
    """
    if free is None:
        return 1 if n_bytes <= SMALL_ASLEEP else usable_cores()
    return 1 if n_bytes <= SMALL_AWAKE else max(1, free)


def open_session(
    path: Path,
    content: bytes,
    threads: int,
    providers: Sequence[str | tuple[str, dict[str, str]]] = ("CPUExecutionProvider",),
    *,
    awake: bool = False,
) -> ort.InferenceSession:
    """A session over the content of a file that was checked, or over what was made of it.

    Args:
        path: of the file, for errors.
        content: an ONNX model.
        threads: on the CPU.
        providers: what is to compute it, by onnxruntime's names, with options; each computes what
            the ones before it cannot.
        awake: let the threads wait for the next token with all their might, for 1 ms; else they
            sleep at once.

    Raises:
        InputError: onnxruntime cannot read it after all.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4  # nothing native on stderr: errors are raised as well
    # What was checked is an ONNX file; without this the bytes could choose another parser.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # Waiting threads spin within a run, or waking them costs a quarter of the speed (10.8M, two
    # threads: 363 against 462 tokens/s). Awake between runs too, 10.8M is 1.14 times as fast in 8
    # bits, 1.18 in 4, 1.07 in 32, the shipped model 1.22; where another process wants one of the
    # cores, 0.57 to 1.00 times.
    if awake:
        options.add_session_config_entry("session.intra_op.spin_duration_us", SPIN_US)
    else:
        options.add_session_config_entry("session.force_spinning_stop", "1")
    # not session.set_denormal_as_zero: it would change all arithmetic of the calling thread
    try:
        return ort.InferenceSession(content, options, providers=list(providers))
    except ORT_ERRORS as error:
        raise InputError(f"onnxruntime cannot read {path}: {first_line(error)}") from None


def run_bound(session: ort.InferenceSession, binding: ort.IOBinding, path: Path) -> None:
    """Compute what is bound; an InputError says that the file's numbers make that impossible."""
    try:
        session.run_with_iobinding(binding)
    except ORT_ERRORS as error:
        raise InputError(f"{path} is damaged: {first_line(error)}") from None


def first_line(error: Exception) -> str:
    """What it says, without the trace that onnxruntime adds."""
    return str(error).splitlines()[0]


def aliasing(array: np.ndarray[Any, Any]) -> ort.OrtValue:
    """An OrtValue over the array's own memory, which keeps the array alive."""
    return ort.OrtValue.ortvalue_from_numpy(array)
