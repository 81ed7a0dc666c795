"""The graph of a model file, changed to say what happens inside: any file can be looked into.

From a file that passed its checks only the weights are taken. The operators are written anew, those
of `onnx_graph` with two differences: each attention also hands out what it weighed, and the head
reads the stream behind every block where it read it behind the last alone. So nothing is exported
twice, and a file has not a byte more for being looked into.

This is `onnx_walk` the other way round: the protobuf wire format, written. Field numbers are those
of onnx.proto (IR version 10).
"""

import struct
from collections.abc import Iterable, Iterator

from minigpt.config import GPTConfig
from minigpt.runtime import onnx_walk as proto
from minigpt.runtime.onnx_file import OnnxFile
from minigpt.runtime.onnx_graph import CONTRIB_OPERATORS, EPSILON, INT64, Attribute, Graph, Node

INPUTS = ("input_ids", "position_ids", "attention_mask")
LENS = "logits"
"""The output [n_layer + 1, sequence_length, vocab_size + 1]: the head behind every block."""

_AFTER_SOFTMAX = 2
"""What GroupQueryAttention hands out: not the scores (1), but the weights made of them."""

_GRAPH_INPUT, _GRAPH_OUTPUT = 11, 12
_VALUE_NAME, _VALUE_TYPE, _TYPE_TENSOR, _TENSOR_ELEMENT = 1, 2, 1, 1
_KIND_FLOAT, _KIND_INT, _KIND_INTS = 1, 2, 7

Chunks = list[bytes | memoryview]
"""Bytes in pieces: the weights of a file are copied once, when all is joined."""


def inspection_graph(file: OnnxFile) -> bytes:
    """An ONNX model over a file's weights, which gives LENS and every `attention_output`."""
    model: Chunks = []
    for number, value in _fields(memoryview(file.content)):
        if number == proto.MODEL_GRAPH and isinstance(value, memoryview):
            model += _field(number, _graph(file, value))
        elif number != proto.MODEL_METADATA:
            model += _field(number, value)
    return b"".join(model)


def attention_output(layer: int) -> str:
    """The name of the output [1, n_head, sequence_length, sequence_length] of a layer."""
    return f"h.{layer}.attn.weights"


def _graph(file: OnnxFile, graph: memoryview) -> Chunks:
    inputs = [_field(_GRAPH_INPUT, _value(name, INT64)) for name in INPUTS]
    outputs = [LENS, *map(attention_output, range(file.config.n_layer))]
    return [
        *_field(proto.GRAPH_NAME, "inspection"),
        *_join(_field(proto.GRAPH_NODE, _node(node)) for node in _nodes(file)),
        *_join(
            _field(number, value)
            for number, value in _fields(graph)
            if number == proto.GRAPH_INITIALIZER
        ),
        *_join(inputs),
        *_join(_field(_GRAPH_OUTPUT, _value(name)) for name in outputs),
    ]


def _nodes(file: OnnxFile) -> Iterator[Node]:
    described = Graph(file.config, file.card.precision)
    layer = 0
    for node in described.nodes:
        if node.kind == "GroupQueryAttention":
            yield _open_attention(node, layer)
            layer += 1
        elif "ln_f" in node.inputs:
            yield from _norms(file.config, described.streams)
            yield node._replace(inputs=("streams.ln_f", *node.inputs[1:]))
        else:
            yield node


def _open_attention(node: Node, layer: int) -> Node:
    qkv, key, value, _, _, *rest = node.inputs  # nothing lies before a text that is read whole
    return node._replace(
        inputs=(qkv, key, value, "", "", *rest),
        outputs=(*node.outputs, attention_output(layer)),
        attributes={**node.attributes, "qk_output": _AFTER_SOFTMAX},
    )


def _norms(config: GPTConfig, streams: Iterable[str]) -> Iterator[Node]:
    """All streams, one behind the other as if they were a batch, normalised for the head."""
    yield Node("Concat", tuple(streams), ("streams",), {"axis": 0})
    inputs = ("streams", "ln_f.weight", "ln_f.bias")[: 3 if config.bias else 2]
    attributes: dict[str, Attribute] = {"axis": -1, "epsilon": EPSILON}
    yield Node("LayerNormalization", inputs, ("streams.ln_f",), attributes)


def _value(name: str, number_type: int | None = None) -> Chunks:
    """A ValueInfoProto; onnxruntime infers the types of outputs."""
    if number_type is None:
        return _field(_VALUE_NAME, name)
    tensor = _field(_TYPE_TENSOR, _field(_TENSOR_ELEMENT, number_type))
    return [*_field(_VALUE_NAME, name), *_field(_VALUE_TYPE, tensor)]


def _node(node: Node) -> Chunks:
    return [
        *_join(_field(proto.NODE_INPUT, name) for name in node.inputs),
        *_join(_field(proto.NODE_OUTPUT, name) for name in node.outputs),
        *_field(proto.NODE_OPERATOR, node.kind),
        *_join(_field(proto.NODE_ATTRIBUTE, _attribute(*each)) for each in node.attributes.items()),
        *_field(proto.NODE_DOMAIN, "com.microsoft" if node.kind in CONTRIB_OPERATORS else ""),
    ]


def _attribute(name: str, value: Attribute) -> Chunks:
    if isinstance(value, float):
        number, kind = proto.ATTRIBUTE_FLOAT, _KIND_FLOAT
    elif isinstance(value, int):
        number, kind = proto.ATTRIBUTE_INT, _KIND_INT
    else:
        number, kind = proto.ATTRIBUTE_INTS, _KIND_INTS
    values = value if isinstance(value, tuple) else (value,)
    return [
        *_field(proto.ATTRIBUTE_NAME, name),
        *_join(_field(number, each) for each in values),
        *_field(proto.ATTRIBUTE_TYPE, kind),
    ]


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    for number, value in proto.Walk().fields(message):
        assert not isinstance(value, proto.Unread)  # all of it is in memory
        yield number, value


def _field(number: int, value: float | str | memoryview | Chunks) -> Chunks:
    """A field of a protobuf message: its number and wire type, its length if that can differ."""
    match value:
        case int():
            return [_varint(number << 3 | proto.VARINT), _varint(value)]
        case float():
            return [_varint(number << 3 | proto.FIXED32), struct.pack("<f", value)]
        case str():
            return _field(number, [value.encode()])
        case memoryview():
            return _field(number, [value])
    length = sum(map(len, value))
    return [_varint(number << 3 | proto.BYTES), _varint(length), *value]


def _varint(value: int) -> bytes:
    """A number in base 128, little end first; what is negative as its two's complement."""
    value %= 2**64
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


def _join(pieces: Iterable[Chunks]) -> Chunks:
    return [chunk for piece in pieces for chunk in piece]
