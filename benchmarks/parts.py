"""What does a token spend its time on? The pass in parts, and what is around it.

For a model of random weights in each precision, halfway through its window, with the threads that
the runtime chooses, in microseconds:

- reading: each core reads its share of the weights from memory once, and does nothing with them;
- matrices, attention, the rest: a graph of these operators alone, over the same weights, each fed
  what it is fed within the pass;
- pass: onnxruntime's whole call; token: that and the decode loop around it, sampling included.

Parts are measured one after the other in each round and their medians told. Alone, they take less
than within the pass, where each finds the caches as the one before left them.

    python -m benchmarks.parts [--preset shakespeare] [--rounds 30]
"""

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from benchmarks.models import TOKENIZER, export_model, random_model
from minigpt.config import PRESETS
from minigpt.cores import free_cores
from minigpt.runtime.generation import generate
from minigpt.runtime.onnx_decoder import OnnxDecoder
from minigpt.runtime.onnx_file import OnnxFile, open_onnx
from minigpt.runtime.onnx_graph import FLOAT, INPUTS, INT32, INT64, Graph, Node, Precision
from minigpt.runtime.onnx_session import aliasing, default_threads, open_session
from minigpt.runtime.onnx_write import with_graph
from minigpt.runtime.params import SamplingParams

PRECISIONS: tuple[Precision, ...] = ("fp32", "int8", "int4")
MATRICES = frozenset({"MatMul", "MatMulNBits"})
ATTENTION = frozenset({"GroupQueryAttention"})
PASSES = 20
"""Of a part in a row: what it reads is where a text that is being written would have it."""

TYPES: Mapping[Any, int] = {
    np.dtype(np.float32): FLOAT, np.dtype(np.int32): INT32, np.dtype(np.int64): INT64,
}  # fmt: skip

Call = Callable[[], object]
Arrays = dict[str, npt.NDArray[Any]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="shakespeare", choices=PRESETS, help="whose sizes")
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    model = random_model(PRESETS[arguments.preset].model)
    print(f"{model.config.n_params():,} parameters; microseconds a token\n")
    print("| | threads | MB | reading | matrices | attention | the rest | pass | token |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for precision in PRECISIONS:
        with tempfile.TemporaryDirectory() as folder:
            file = open_onnx(export_model(model, precision, Path(folder)))
        free = free_cores()
        threads = default_threads(len(file.content), free)
        awake = free is not None and threads <= free
        print(f"| {precision} | {threads} | {len(file.content) / 1e6:.1f} |", end="", flush=True)
        for us in measure(file, threads, arguments.rounds, awake=awake):
            print(f" {us:.0f} |", end="")
        print(flush=True)


def measure(file: OnnxFile, threads: int, rounds: int, *, awake: bool) -> list[float]:
    """The columns from `reading` on."""
    decoder = OnnxDecoder(file, threads=threads)
    found = arrays_within(file)
    kinds = {node.kind for node in nodes_of(file)}
    parts = (MATRICES, ATTENTION, kinds - MATRICES - ATTENTION)
    calls = [part(file, each, found, threads, awake=awake) for each in parts]
    half = file.config.block_size // 2
    prompt = [i % file.config.vocab_size for i in range(half - PASSES // 2)]
    params = SamplingParams(temperature=0.8, max_new_tokens=PASSES + 2)

    def one_pass() -> None:
        decoder.rewind(half)
        decoder.feed([0])

    rows = []
    for _ in range(rounds):
        row = [seconds_to_read(file.content, threads)]
        row += [seconds(call) for call in calls]
        decoder.rewind(0)
        writing = generate(decoder, TOKENIZER, prompt, lambda: params)
        next(writing)  # after that, the prompt is read
        token = seconds(partial(next, writing))
        decoder.rewind(0)
        decoder.feed(prompt + [0] * (half - len(prompt)))
        row += [seconds(one_pass), token]
        rows.append(row)
    return [statistics.median(column) * 1e6 for column in zip(*rows, strict=True)]


def seconds(call: Call) -> float:
    """Of one call, the median of some in a row."""
    found = []
    for _ in range(PASSES):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def seconds_to_read(content: bytes, threads: int, times: int = 200) -> float:
    """All of it once, by so many threads, each its share; long enough to have a core each."""
    numbers = np.frombuffer(content[: len(content) // 8 * 8], np.int64)
    start = threading.Barrier(threads + 1)

    def read(share: npt.NDArray[np.int64]) -> None:
        start.wait()
        for _ in range(times):
            np.bitwise_or.reduce(share)  # numpy lets other threads run meanwhile

    readers = [
        threading.Thread(target=read, args=(each,)) for each in np.array_split(numbers, threads)
    ]
    for reader in readers:
        reader.start()
    start.wait()
    began = time.perf_counter()
    for reader in readers:
        reader.join()
    return (time.perf_counter() - began) / times


def nodes_of(file: OnnxFile) -> list[Node]:
    """Of its graph, in order."""
    return Graph(file.config, file.card.precision).nodes


def arrays_within(file: OnnxFile) -> Arrays:
    """Everything that a pass halfway through the window reads and makes, by name."""
    config = file.config
    half = config.block_size // 2
    rng = np.random.default_rng(0)
    cache = (1, config.n_head, config.block_size, config.head_dim)
    fed: Arrays = {name: np.full((1, 1), half, np.int64) for name in INPUTS}
    fed["input_ids"] = np.zeros((1, 1), np.int64)
    fed["attention_mask"] = (np.arange(config.block_size) <= half).astype(np.int64)[None]
    nodes = nodes_of(file)
    for name in (each for node in nodes for each in node.inputs if each.startswith("past_")):
        fed[name] = rng.standard_normal(cache, np.float32)
    made = [name for node in nodes for name in node.outputs if name]
    content = with_graph(file.content, "all", nodes, types_of(fed), made)
    session = open_session(file.path, content, 1)
    return fed | dict(zip(made, session.run(made, fed), strict=True))


def part(
    file: OnnxFile, kinds: frozenset[str] | set[str], found: Arrays, threads: int, *, awake: bool
) -> Call:
    """A call that computes the operators of some kinds, and those that prepare their weights."""
    made = set(Graph(file.config, file.card.precision).weights)
    nodes: list[Node] = []
    inputs: Arrays = {}
    outputs: list[str] = []
    for node in nodes_of(file):
        if set(node.inputs) <= made:  # onnxruntime does it once, when it opens the graph
            made |= set(node.outputs)
        elif node.kind in kinds:
            inputs |= {name: found[name] for name in node.inputs if name and name not in made}
            outputs += [name for name in node.outputs if name]
        else:
            continue
        nodes.append(node)
    fed = {name: array for name, array in inputs.items() if name not in outputs}
    content = with_graph(file.content, "part", nodes, types_of(fed), outputs)
    session = open_session(file.path, content, threads, awake=awake)
    binding = bound(session, fed, {name: np.empty_like(found[name]) for name in outputs})
    return lambda: session.run_with_iobinding(binding)


def bound(session: ort.InferenceSession, fed: Arrays, made: Arrays) -> ort.IOBinding:
    """As the decoder binds: what was attended to and what is, is one buffer."""
    binding = session.io_binding()
    values = {name: aliasing(array) for name, array in (made | fed).items()}
    for name in fed:
        binding.bind_ortvalue_input(name, values[name])
    for name in made:
        past = name.replace("present.", "past_key_values.")
        binding.bind_ortvalue_output(name, values[past if past in fed else name])
    return binding


def types_of(arrays: Arrays) -> dict[str, int]:
    """As TensorProto counts them."""
    return {name: TYPES[array.dtype] for name, array in arrays.items()}


if __name__ == "__main__":
    main()
