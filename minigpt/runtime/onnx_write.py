"""The bytes of a model file, written with another graph over the same weights.

This is `onnx_walk` the other way round: the protobuf wire format, written. Field numbers are those
of onnx.proto (IR version 10).
"""

import struct
from collections.abc import Iterable, Iterator, Mapping

from minigpt.runtime import onnx_walk as proto
from minigpt.runtime.onnx_graph import CONTRIB, CONTRIB_OPERATORS, Attribute, Node

_GRAPH_INPUT, _GRAPH_OUTPUT = 11, 12
_VALUE_NAME, _VALUE_TYPE, _TYPE_TENSOR, _TENSOR_ELEMENT = 1, 2, 1, 1
_KIND_FLOAT, _KIND_INT, _KIND_INTS = 1, 2, 7

_Chunks = list[bytes | memoryview]
"""Bytes in pieces: the weights of a file are copied once, when all is joined."""


def with_graph(
    content: bytes,
    name: str,
    nodes: Iterable[Node],
    inputs: Mapping[str, int],
    outputs: Iterable[str],
) -> bytes:
    """The ONNX model of a file that was checked, with other operators over the same weights.

    Args:
        content: of the file.
        name: of the graph.
        nodes: its operators, in an order in which they can be computed.
        inputs: its inputs and their types, as TensorProto counts them.
        outputs: its outputs; onnxruntime infers their types.
    """
    model: _Chunks = []
    for number, value in _fields(memoryview(content)):
        if number == proto.MODEL_GRAPH and isinstance(value, memoryview):
            model += _field(number, _graph(value, name, nodes, inputs, outputs))
        elif number != proto.MODEL_METADATA:
            model += _field(number, value)
    return b"".join(model)


def _graph(
    graph: memoryview,
    name: str,
    nodes: Iterable[Node],
    inputs: Mapping[str, int],
    outputs: Iterable[str],
) -> _Chunks:
    return [
        *_field(proto.GRAPH_NAME, name),
        *_join(_field(proto.GRAPH_NODE, _node(node)) for node in nodes),
        *_join(
            _field(number, value)
            for number, value in _fields(graph)
            if number == proto.GRAPH_INITIALIZER
        ),
        *_join(_field(_GRAPH_INPUT, _value(*each)) for each in inputs.items()),
        *_join(_field(_GRAPH_OUTPUT, _value(each)) for each in outputs),
    ]


def _value(name: str, number_type: int | None = None) -> _Chunks:
    """A ValueInfoProto; onnxruntime infers the types of outputs."""
    if number_type is None:
        return _field(_VALUE_NAME, name)
    tensor = _field(_TYPE_TENSOR, _field(_TENSOR_ELEMENT, number_type))
    return [*_field(_VALUE_NAME, name), *_field(_VALUE_TYPE, tensor)]


def _node(node: Node) -> _Chunks:
    return [
        *_join(_field(proto.NODE_INPUT, name) for name in node.inputs),
        *_join(_field(proto.NODE_OUTPUT, name) for name in node.outputs),
        *_field(proto.NODE_OPERATOR, node.kind),
        *_join(_field(proto.NODE_ATTRIBUTE, _attribute(*each)) for each in node.attributes.items()),
        *_field(proto.NODE_DOMAIN, CONTRIB if node.kind in CONTRIB_OPERATORS else ""),
    ]


def _attribute(name: str, value: Attribute) -> _Chunks:
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


def _fields(message: memoryview) -> Iterator[tuple[int, float | memoryview]]:
    for number, value in proto.Walk().fields(message):
        assert not isinstance(value, proto.Unread)  # all of it is in memory
        yield number, value


def _field(number: int, value: float | str | memoryview | _Chunks) -> _Chunks:
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


def _join(pieces: Iterable[_Chunks]) -> _Chunks:
    return [chunk for piece in pieces for chunk in piece]
