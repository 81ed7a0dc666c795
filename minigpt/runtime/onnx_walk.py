"""What is in the bytes of an ONNX file: one bounded walk through the protobuf wire format.

Written out, so that neither the onnx package nor any parser of untrusted structures is needed.
What no graph of ours has ends the walk with a sentence. Field numbers are those of onnx.proto (IR
version 10).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, overload

from minigpt.errors import InputError
from minigpt.runtime.onnx_graph import (
    CONSTANTS,
    CONTRIB,
    CONTRIB_OPERATORS,
    Attribute,
    Node,
    Weight,
)

MAX_METADATA_BYTES = 3 * 2**20  # a tokenizer of 80,000 characters; read in 0.5 s at worst
MAX_TEXT_BYTES = 2**16  # of every other text in it
MAX_NAME_BYTES = 256  # in the graph; the longest of ours have some 30
MAX_SIGNATURE_BYTES = 2**17  # 420 layers; onnxruntime takes up to 300 times as much memory
MAX_FIELDS = 100_000  # a layer has up to 324; so many are walked in a second

VARINT, BYTES, FIXED32 = 0, 2, 5
MODEL_GRAPH, MODEL_OPSET, MODEL_METADATA, MODEL_TRAINING, MODEL_FUNCTIONS = 7, 8, 14, 20, 25
MODEL_NUMBERS_AND_NAMES = frozenset(range(1, 7))
GRAPH_NODE, GRAPH_NAME, GRAPH_INITIALIZER, GRAPH_SPARSE_INITIALIZER = 1, 2, 5, 15
GRAPH_NAME_INPUTS_OUTPUTS = frozenset({2, 11, 12})
NODE_INPUT, NODE_OUTPUT, NODE_NAME, NODE_OPERATOR, NODE_ATTRIBUTE = 1, 2, 3, 4, 5
NODE_DOMAIN = 7
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW_DATA = 1, 2, 8, 9
_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 13, 14
ATTRIBUTE_NAME, ATTRIBUTE_TYPE = 1, 20
ATTRIBUTE_FLOAT, ATTRIBUTE_INT, ATTRIBUTE_INTS = 2, 3, 8
# AttributeProto fields that hold a number or a text, or lists of them; all others nest structures
_PLAIN_ATTRIBUTE_FIELDS = frozenset({1, 2, 3, 4, 7, 8, 9, 13, 20, 21})


class Damaged(Exception):
    """The bytes are not a protobuf message as onnx writes them."""


class Unread:
    """A part of a file, of which only what is looked at is read; else like a memoryview of it."""

    def __init__(self, file: BinaryIO, start: int, end: int) -> None:
        self._file, self._start, self._end = file, start, end

    def __len__(self) -> int:
        return self._end - self._start

    def __bytes__(self) -> bytes:
        self._file.seek(self._start)
        return self._file.read(len(self))

    @overload
    def __getitem__(self, at: int) -> int: ...

    @overload
    def __getitem__(self, at: slice) -> "Unread": ...

    def __getitem__(self, at: int | slice) -> "int | Unread":
        """A byte, or the part between two places; they are not beyond the end."""
        if isinstance(at, slice):
            return Unread(self._file, self._start + at.start, self._start + at.stop)
        self._file.seek(self._start + at)
        byte = self._file.read(1)
        if not byte:  # the file has become shorter meanwhile
            raise Damaged
        return byte[0]


Bytes = memoryview | Unread
Value = int | float | Bytes
"""Of a field: of protobuf's fixed 32 bits only floats are ever written."""


@dataclass(slots=True)
class Model:
    """What one walk through a file finds."""

    graph: Bytes | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    weights: dict[str, Weight] = field(default_factory=dict)


class Walk:
    """One walk through a file, with a limit on the number of fields it looks at."""

    def __init__(self) -> None:
        self._fields_left = MAX_FIELDS
        self._found = Model()

    def model(self, content: Bytes) -> Model:
        """What a model that has nothing unusual says of itself; its graph is not looked into."""
        found = self._found
        metadata_bytes = 0
        for number, value in self.fields(content):
            if number == MODEL_METADATA:
                metadata_bytes += len(_message(value))
                if metadata_bytes > MAX_METADATA_BYTES:
                    raise InputError(f"it has more than {MAX_METADATA_BYTES} bytes of metadata")
                key, text = self._entry(_message(value))
                if key in found.metadata:
                    raise InputError(f"its metadata has {key[:40]!a} twice")
                found.metadata[key] = text
            elif number == MODEL_GRAPH and found.graph is None:
                found.graph = _message(value)
            elif number == MODEL_OPSET:
                for part, domain in self.fields(_message(value)):
                    if part == 1:
                        _check_domain(domain)
            elif number in (MODEL_FUNCTIONS, MODEL_TRAINING):
                raise InputError("it has functions or training graphs, which no model here needs")
            elif number not in MODEL_NUMBERS_AND_NAMES:  # a second graph: protobuf would merge
                raise Damaged
        if found.graph is None:
            raise Damaged
        return found

    def graph(self, graph: Bytes | None) -> None:
        """Add the nodes and weights of the model's graph to what was found."""
        if graph is None:
            raise Damaged
        signature_bytes = 0
        for number, value in self.fields(graph):
            if number == GRAPH_SPARSE_INITIALIZER:
                raise InputError("it has sparse weights, which may hide external data")
            if number == GRAPH_INITIALIZER:
                name, weight = self._weight(_message(value))
                if name in self._found.weights:
                    raise InputError(f"it has two weights called {name[:40]!a}")
                self._found.weights[name] = weight
            elif number == GRAPH_NODE:
                self._found.nodes.append(self._node(_message(value)))
            elif number in GRAPH_NAME_INPUTS_OUTPUTS:
                signature_bytes += len(_message(value))
                if signature_bytes > MAX_SIGNATURE_BYTES:
                    raise InputError("its graph has larger inputs and outputs than any model here")
            else:
                raise InputError("its graph has parts that no model here needs")

    def _weight(self, tensor: Bytes) -> tuple[str, Weight]:
        dims: list[int] = []
        found: dict[int, Value] = {}
        for part, value in self.fields(tensor):
            external = part == _TENSOR_EXTERNAL_DATA
            if external or (part == _TENSOR_DATA_LOCATION and value != 0):
                raise InputError("its weights are in another file; only one file is read")
            if part == _TENSOR_DIMS:
                dims.append(_number(value))
            elif part in found:
                raise Damaged
            else:
                found[part] = value
        stored = {_TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW_DATA}
        if found.keys() - {_TENSOR_DATA_LOCATION} != stored:
            raise InputError("a weight is stored in a form that minigpt export does not write")
        name, raw = _text(found[_TENSOR_NAME]), _message(found[_TENSOR_RAW_DATA])
        constant = bytes(raw[0 : min(8, len(raw))]) if name in CONSTANTS else None
        return name, Weight(_number(found[_TENSOR_TYPE]), tuple(dims), len(raw), constant)

    def _node(self, node: Bytes) -> Node:
        kind = domain = ""
        inputs: list[str] = []
        outputs: list[str] = []
        attributes: dict[str, Attribute] = {}
        for part, value in self.fields(node):
            if part == NODE_INPUT:
                inputs.append(_text(value))
            elif part == NODE_OUTPUT:
                outputs.append(_text(value))
            elif part == NODE_OPERATOR:
                kind = _text(value)
            elif part == NODE_DOMAIN:
                domain = _check_domain(value)
            elif part == NODE_ATTRIBUTE:
                name, attribute = self._attribute(_message(value))
                if name in attributes:
                    raise Damaged
                attributes[name] = attribute
            elif part != NODE_NAME:
                raise InputError("an operator has parts that no model here needs")
        if (domain == CONTRIB) != (kind in CONTRIB_OPERATORS):
            raise InputError(f"it uses an operator that no model here does: {kind!a:.60}")
        return Node(kind, tuple(inputs), tuple(outputs), attributes)

    def _attribute(self, attribute: Bytes) -> tuple[str, Attribute]:
        """The name and value of a number or a list of whole numbers; no other is ever written."""
        found: dict[int, Value] = {}
        whole: list[int] = []
        for part, value in self.fields(attribute):
            if part not in _PLAIN_ATTRIBUTE_FIELDS:
                raise InputError("an operator's attribute holds a tensor or a graph")
            found[part] = value
            if part == ATTRIBUTE_INTS:
                whole.append(_signed(_number(value)))
        kind = found.pop(ATTRIBUTE_TYPE, None)
        name = _text(found.pop(ATTRIBUTE_NAME, 0))
        match kind, list(found):
            case 1, [2] if isinstance(single := found[ATTRIBUTE_FLOAT], float):
                return name, single
            case 2, [3]:
                return name, _signed(_number(found[ATTRIBUTE_INT]))
            case 7, [8]:
                return name, tuple(whole)
            case _:
                raise InputError("an operator's attribute is of a kind that no model here needs")

    def _entry(self, message: Bytes) -> tuple[str, str]:
        """A StringStringEntryProto."""
        texts = {part: _text(value, len(message)) for part, value in self.fields(message)}
        return texts.get(1, ""), texts.get(2, "")

    def fields(self, message: Bytes) -> Iterator[tuple[int, Value]]:
        """The (field number, value) pairs of a protobuf message; bytes are views, not copies."""
        at, end = 0, len(message)
        while at < end:
            self._fields_left -= 1
            tag, at = _varint(message, at)
            number, wire_type = tag >> 3, tag & 7
            # protobuf drops what is above 32 bits: a field could have another number there
            if self._fields_left < 0 or tag > 0xFFFFFFFF or number == 0:
                raise Damaged
            if wire_type == VARINT:
                value, at = _varint(message, at)
                yield number, value
                continue
            if wire_type == BYTES:
                length, at = _varint(message, at)
            elif wire_type == FIXED32:
                length = 4
            else:  # nothing here is written in 64 bits
                raise Damaged
            if length > end - at:
                raise Damaged
            part = message[at : at + length]
            yield number, part if wire_type == BYTES else _float(bytes(part))
            at += length


def _check_domain(value: Value) -> str:
    """The name of an operator domain, "" for ONNX's own."""
    name = _text(value)
    domain = "" if name == "ai.onnx" else name
    if domain not in ("", CONTRIB):
        raise InputError(f"it uses unknown operators: {name[:40]!a}")
    return domain


def _text(value: Value, max_bytes: int = MAX_NAME_BYTES) -> str:
    message = _message(value)
    if len(message) > max_bytes:
        raise Damaged
    try:
        return bytes(message).decode()
    except UnicodeDecodeError:
        raise Damaged from None


def _message(value: Value) -> Bytes:
    if isinstance(value, int | float):
        raise Damaged
    return value


def _number(value: Value) -> int:
    if not isinstance(value, int):
        raise Damaged
    return value


def _float(part: bytes) -> float:
    if len(part) != 4:  # the file has become shorter meanwhile
        raise Damaged
    return float(struct.unpack("<f", part)[0])


def _signed(value: int) -> int:
    """An int64 of what protobuf writes for it, its two's complement."""
    return value - 2**64 if 2**63 <= value < 2**64 else value


def _varint(message: Bytes, at: int) -> tuple[int, int]:
    """The little-endian base-128 number at `at`, and where it ends."""
    if at < len(message) and (byte := message[at]) < 0x80:  # most are: a quarter of all time
        return byte, at + 1
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise Damaged
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise Damaged
