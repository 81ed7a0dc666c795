"""The graph of a model file, changed so that a GPU can compute it.

onnxruntime's GroupQueryAttention has kernels for float16 and bfloat16 there and for nothing longer.
So queries, keys, values and rotations are cast to halves, what it read is cast back, and the cache
is of halves. All else stays in 32 bits. As in `inspection_graph` only the weights are taken from
the file: any that was exported runs.
"""

from collections.abc import Iterator

from minigpt.runtime.onnx_file import OnnxFile
from minigpt.runtime.onnx_graph import FLOAT, FLOAT16, INPUTS, INT64, Graph, Node, cache_names
from minigpt.runtime.onnx_write import with_graph


def cuda_graph(file: OnnxFile) -> bytes:
    """An ONNX model with the inputs and outputs of `onnx_graph`, its cache in half precision."""
    caches = cache_names(file.config)
    inputs = {
        **dict.fromkeys(INPUTS, INT64),
        **{f"past_key_values.{name}": FLOAT16 for name in caches},
    }
    outputs = ["logits", *(f"present.{name}" for name in caches)]
    return with_graph(file.content, "cuda", _nodes(file), inputs, outputs)


def _nodes(file: OnnxFile) -> Iterator[Node]:
    if not file.config.learned_positions:
        yield _cast("cos", "cos.half", FLOAT16)
        yield _cast("sin", "sin.half", FLOAT16)
    for node in Graph(file.config, file.card.precision).nodes:
        if node.kind == "GroupQueryAttention":
            yield from _halved(node)
        else:
            yield node


def _halved(node: Node) -> Iterator[Node]:
    (qkv, *cache_and_lengths), tables = node.inputs[:7], node.inputs[7:]
    read, *present = node.outputs
    yield _cast(qkv, f"{qkv}.half", FLOAT16)
    halves = (f"{qkv}.half", *cache_and_lengths, *(f"{table}.half" for table in tables))
    yield node._replace(inputs=halves, outputs=(f"{read}.half", *present))
    yield _cast(f"{read}.half", read, FLOAT)


def _cast(x: str, y: str, number_type: int) -> Node:
    return Node("Cast", (x,), (y,), {"to": number_type})
