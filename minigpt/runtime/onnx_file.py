"""Open a .onnx file that came from anywhere: read what it says of itself, or say why not.

A model file is data from a stranger, and onnxruntime is asked only after these checks. They read
the protobuf wire format itself, so that neither the onnx package nor any parser of untrusted
structures is needed: the file is bounded in size, complete, of a form this version knows, keeps
all its weights inside (no external data in any disguise), uses only the operators that exported
graphs are made of, wired as the export wires them for that config (`onnx_graph`), and its graph
and metadata are those whose hash was stored at the export.

What a refusal costs is bounded by what is looked at and not by the size of the file: MAX_FIELDS
fields, MAX_METADATA_BYTES of metadata, and nothing of the weights of a large file before all the
rest of it is right.

Field numbers are those of onnx.proto (IR version 10).
"""

import hashlib
import json
import math
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, overload

from minigpt.config import GPTConfig, ModelCard, from_json
from minigpt.errors import InputError
from minigpt.files import open_regular
from minigpt.runtime.draft import Draft
from minigpt.runtime.onnx_graph import CONSTANTS, PRECISIONS, Attribute, Graph, Node, Weight
from minigpt.tokenizer import CharTokenizer

FORMAT = 2
"""The form of graph and metadata; a file that says more was written by a newer minigpt.

2: the logits have a column for `<|endoftext|>`, see `GPTConfig.exported_vocab_size`.
"""

MAX_FILE_BYTES = 2**31 - 1  # a protobuf message cannot be larger
MAX_METADATA_BYTES = 3 * 2**20  # a tokenizer of 80,000 characters; read in 0.5 s at worst
MAX_TEXT_BYTES = 2**16  # of every other text
MAX_FIELDS = 100_000  # a 12-layer model has some 3,000; so many are walked in 0.2 s
MAX_DECODER_BYTES = 2**32  # of keys, values and logits; GPT-2's largest model takes 0.8 GB
UNREAD_FROM_BYTES = 2**24  # smaller files are read at once, in 50 ms

FORMAT_KEY = "minigpt.format"
CONFIG_KEY = "minigpt.config"
TOKENIZER_KEY = "minigpt.tokenizer"
CARD_KEY = "minigpt.card"
PARITY_KEY = "minigpt.parity"
DRAFT_KEY = "minigpt.draft"
HASH_KEY = "minigpt.blake2b"
TEXT_KEYS = (CONFIG_KEY, TOKENIZER_KEY, CARD_KEY, PARITY_KEY, DRAFT_KEY)
"""What is hashed beside the graph, in this order."""
_MAX_TEXTS = {TOKENIZER_KEY: MAX_METADATA_BYTES, DRAFT_KEY: 300_000}

OPERATORS: Mapping[str, frozenset[str]] = {
    "": frozenset(
        {"Add", "Cast", "Gather", "Gelu", "LayerNormalization", "MatMul", "ReduceSum", "Shape",
         "Sub", "Transpose"}
    ),
    "com.microsoft": frozenset(
        {"BiasGelu", "GroupQueryAttention", "MatMulNBits", "SkipLayerNormalization"}
    ),
}  # fmt: skip
"""What an exported graph is made of, by domain; nothing else runs."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MODEL_GRAPH, _MODEL_OPSET, _MODEL_METADATA, _MODEL_TRAINING, _MODEL_FUNCTIONS = 7, 8, 14, 20, 25
_MODEL_NUMBERS_AND_NAMES = frozenset(range(1, 7))
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE_INITIALIZER = 1, 5, 15
_GRAPH_NAME_INPUTS_OUTPUTS = frozenset({2, 11, 12})
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_OPERATOR, _NODE_ATTRIBUTE = 1, 2, 3, 4, 5
_NODE_DOMAIN = 7
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW_DATA = 1, 2, 8, 9
_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 13, 14
_ATTRIBUTE_NAME, _ATTRIBUTE_TYPE = 1, 20
_ATTRIBUTE_FLOAT, _ATTRIBUTE_INT, _ATTRIBUTE_INTS = 2, 3, 8
# AttributeProto fields that hold a number or a text, or lists of them; all others nest structures
_PLAIN_ATTRIBUTE_FIELDS = frozenset({1, 2, 3, 4, 7, 8, 9, 13, 20, 21})


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """A checked model file."""

    path: Path
    config: GPTConfig
    tokenizer: CharTokenizer
    card: ModelCard
    content: bytes
    """The whole file, for `onnxruntime.InferenceSession`."""
    parity: str = "{}"
    """How far it is from the PyTorch model, as measured at its export: a JSON object."""
    draft: Draft | None = None
    """What guesses its next tokens."""


class _Damaged(Exception):
    """The bytes are not a protobuf message as onnx writes them."""


class _Unread:
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
    def __getitem__(self, at: slice) -> "_Unread": ...

    def __getitem__(self, at: int | slice) -> "int | _Unread":
        """A byte, or the part between two places; they are not beyond the end."""
        if isinstance(at, slice):
            return _Unread(self._file, self._start + at.start, self._start + at.stop)
        self._file.seek(self._start + at)
        byte = self._file.read(1)
        if not byte:  # the file has become shorter meanwhile
            raise _Damaged
        return byte[0]


_Bytes = memoryview | _Unread


@dataclass(slots=True)
class _Model:
    """What one walk through a file finds."""

    metadata: dict[str, str] = field(default_factory=dict)
    graph: _Bytes | None = None
    nodes: list[Node] = field(default_factory=list)
    weights: dict[str, Weight] = field(default_factory=dict)


def open_onnx(path: Path) -> OnnxFile:
    """Read and check a model file.

    Raises:
        InputError: it is missing, damaged, not written by minigpt, by an older or a newer one, or
            it asks for something no model of ours needs. onnxruntime has not seen it then.
    """
    wanted = "the .onnx file that minigpt export wrote"
    with open_regular(path, wanted, MAX_FILE_BYTES) as file:
        n_bytes = os.fstat(file.fileno()).st_size
        if n_bytes >= UNREAD_FROM_BYTES:
            with _naming(path):
                _check(_Unread(file, 0, n_bytes))
            file.seek(0)
        content = file.read(n_bytes)
    return check_onnx(path, content)


def check_onnx(path: Path, content: bytes) -> OnnxFile:
    """The checks of `open_onnx` on a file's content; `path` is for the messages.

    Raises:
        InputError: as `open_onnx`.
    """
    with _naming(path):
        if content[4:8] == b"ORTM":  # onnxruntime would not take it for ONNX, but for its own
            raise _Damaged
        config, tokenizer, card, parity, draft = _check(memoryview(content))
    return OnnxFile(path, config, tokenizer, card, content, parity, draft)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let what is wrong be one sentence that begins with the file's name."""
    try:
        yield
    except _Damaged:
        raise InputError(
            f"{path} is not a complete .onnx file: it was cut short, damaged, or is something else"
        ) from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def content_hash(graph: bytes | memoryview, *texts: str) -> str:
    """The checksum stored under HASH_KEY: of the serialized graph and what is said of it.

    The texts are those under TEXT_KEYS, in that order.

    BLAKE2b is in the standard library and takes about half of SHA-256's time where the processor
    has no instructions for that one.
    """
    digest = hashlib.blake2b(graph, digest_size=32)
    for text in texts:
        encoded = text.encode()
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()


def _check(content: _Bytes) -> tuple[GPTConfig, CharTokenizer, ModelCard, str, Draft]:
    """What a model file says of itself, the parity report as it stands, if all of it is right.

    Only the checksum of a file that is still unread is left to be checked.
    """
    model = _Walk().model(content)
    metadata = model.metadata
    if missing := {*TEXT_KEYS, HASH_KEY} - set(metadata):
        raise InputError(f"it is damaged: its metadata lacks {sorted(missing)[0]}")
    texts = [metadata[key] for key in TEXT_KEYS]
    if isinstance(model.graph, memoryview) and metadata[HASH_KEY] != content_hash(
        model.graph, *texts
    ):
        raise InputError("it is damaged: its content does not match its checksum")
    # from here on the texts are what somebody chose to seal, which need not be minigpt
    for key in TEXT_KEYS:
        most = _MAX_TEXTS.get(key, MAX_TEXT_BYTES)
        if len(metadata[key]) > most:
            raise InputError(f"its {key} has more than {most} characters")
    config = from_json(GPTConfig, metadata[CONFIG_KEY])
    card = from_json(ModelCard, metadata[CARD_KEY])
    _check_json(metadata[PARITY_KEY])
    _check_graph(model, config, card)
    tokenizer = CharTokenizer.from_json(metadata[TOKENIZER_KEY])
    if tokenizer.vocab_size != config.vocab_size:
        raise InputError(
            f"it is damaged: its tokenizer has {tokenizer.vocab_size} characters, "
            f"its model {config.vocab_size}"
        )
    draft = Draft.from_stored(metadata[DRAFT_KEY], config.vocab_size)
    return config, tokenizer, card, metadata[PARITY_KEY], draft


def _check_format(metadata: Mapping[str, str]) -> None:
    if FORMAT_KEY not in metadata:
        raise InputError("it was not made by minigpt export: it carries no minigpt metadata")
    if metadata[FORMAT_KEY] in map(str, range(1, FORMAT)):
        raise InputError(
            f"it was written by an older minigpt (format {metadata[FORMAT_KEY]}, this one reads "
            f"{FORMAT}): export its checkpoint again"
        )
    if metadata[FORMAT_KEY] != str(FORMAT):
        raise InputError(
            f"its format is {metadata[FORMAT_KEY][:20]!r}, this minigpt reads {FORMAT}: "
            "install a newer minigpt"
        )


def _check_json(parity: str) -> None:
    try:
        report = json.loads(parity)
        json.dumps(report, allow_nan=False)
    except (ValueError, RecursionError):
        report = None
    if not isinstance(report, dict):
        raise InputError("it is damaged: its parity report is not a JSON object")


def _check_graph(model: _Model, config: GPTConfig, card: ModelCard) -> None:
    """Compare the graph with the one that an export writes, and with what decoding may take."""
    if not math.isfinite(card.val_loss):
        raise InputError(f"it is damaged: its val_loss is {card.val_loss}")
    if card.precision not in PRECISIONS:
        raise InputError(
            f"its precision must be one of {', '.join(PRECISIONS)}, not {card.precision[:20]!r}"
        )
    cached = 2 * config.n_layer * config.n_embd
    if 4 * config.block_size * (cached + config.exported_vocab_size) > MAX_DECODER_BYTES:
        raise InputError(
            f"a window of {config.block_size} tokens of this model takes more than "
            f"{MAX_DECODER_BYTES} bytes of memory"
        )
    expected = Graph(config, card.precision)
    if model.nodes != expected.nodes:
        raise InputError("its graph is not the one that minigpt export writes for its config")
    if model.weights != expected.weights:
        raise InputError("its weights are not those that its config has")


class _Walk:
    """One walk through a file, with a limit on the number of fields it looks at."""

    def __init__(self) -> None:
        self._fields_left = MAX_FIELDS
        self._found = _Model()

    def model(self, content: _Bytes) -> _Model:
        """What is in a model that asks for nothing unusual."""
        found = self._found
        metadata_bytes = 0
        for number, value in self._fields(content):
            if number == _MODEL_METADATA:
                metadata_bytes += len(_message(value))
                if metadata_bytes > MAX_METADATA_BYTES:
                    raise InputError(f"it has more than {MAX_METADATA_BYTES} bytes of metadata")
                key, text = self._entry(_message(value))
                if key in found.metadata:
                    raise InputError(f"its metadata has {key[:40]!a} twice")
                found.metadata[key] = text
            elif number == _MODEL_GRAPH and found.graph is None:
                found.graph = _message(value)
            elif number == _MODEL_OPSET:
                for part, domain in self._fields(_message(value)):
                    if part == 1:
                        _check_domain(domain)
            elif number in (_MODEL_FUNCTIONS, _MODEL_TRAINING):
                raise InputError("it has functions or training graphs, which no model here needs")
            elif number not in _MODEL_NUMBERS_AND_NAMES:  # a second graph: protobuf would merge
                raise _Damaged
        if found.graph is None:
            raise _Damaged
        _check_format(found.metadata)  # first, as graphs of another have other operators
        self._graph(found.graph)
        return found

    def _graph(self, graph: _Bytes) -> None:
        for number, value in self._fields(graph):
            if number == _GRAPH_SPARSE_INITIALIZER:
                raise InputError("it has sparse weights, which may hide external data")
            if number == _GRAPH_INITIALIZER:
                name, weight = self._weight(_message(value))
                if name in self._found.weights:
                    raise InputError(f"it has two weights called {name[:40]!a}")
                self._found.weights[name] = weight
            elif number == _GRAPH_NODE:
                self._found.nodes.append(self._node(_message(value)))
            elif number not in _GRAPH_NAME_INPUTS_OUTPUTS:
                raise InputError("its graph has parts that no model here needs")

    def _weight(self, tensor: _Bytes) -> tuple[str, Weight]:
        dims: list[int] = []
        found: dict[int, int | _Bytes] = {}
        for part, value in self._fields(tensor):
            external = part == _TENSOR_EXTERNAL_DATA
            if external or (part == _TENSOR_DATA_LOCATION and value != 0):
                raise InputError("its weights are in another file; only one file is read")
            if part == _TENSOR_DIMS:
                dims.append(_number(value))
            elif part in found:
                raise _Damaged
            else:
                found[part] = value
        stored = {_TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW_DATA}
        if found.keys() - {_TENSOR_DATA_LOCATION} != stored:
            raise InputError("a weight is stored in a form that minigpt export does not write")
        name, raw = _text(found[_TENSOR_NAME]), _message(found[_TENSOR_RAW_DATA])
        constant = bytes(raw[0 : min(8, len(raw))]) if name in CONSTANTS else None
        return name, Weight(_number(found[_TENSOR_TYPE]), tuple(dims), len(raw), constant)

    def _node(self, node: _Bytes) -> Node:
        domain = ""
        inputs: list[str] = []
        outputs: list[str] = []
        operators: list[str] = []
        attributes: dict[str, Attribute] = {}
        for part, value in self._fields(node):
            if part == _NODE_INPUT:
                inputs.append(_text(value))
            elif part == _NODE_OUTPUT:
                outputs.append(_text(value))
            elif part == _NODE_OPERATOR:
                operators.append(_text(value))
            elif part == _NODE_DOMAIN:
                domain = _check_domain(value)
            elif part == _NODE_ATTRIBUTE:
                name, attribute = self._attribute(_message(value))
                if name in attributes:
                    raise _Damaged
                attributes[name] = attribute
            elif part != _NODE_NAME:
                raise InputError("an operator has parts that no model here needs")
        if len(operators) != 1 or operators[0] not in OPERATORS[domain]:
            raise InputError(f"it uses an operator that no model here does: {operators!a:.60}")
        return Node(operators[0], tuple(inputs), tuple(outputs), attributes)

    def _attribute(self, attribute: _Bytes) -> tuple[str, Attribute]:
        """The name and value of a number or a list of whole numbers; no other is ever written."""
        found: dict[int, int | _Bytes] = {}
        whole: list[int] = []
        for part, value in self._fields(attribute):
            if part not in _PLAIN_ATTRIBUTE_FIELDS:
                raise InputError("an operator's attribute holds a tensor or a graph")
            found[part] = value
            if part == _ATTRIBUTE_INTS:
                whole.append(_signed(_number(value)))
        kind = found.pop(_ATTRIBUTE_TYPE, None)
        name = _text(found.pop(_ATTRIBUTE_NAME, 0))
        match kind, list(found):
            case 1, [2] if len(single := bytes(_message(found[_ATTRIBUTE_FLOAT]))) == 4:
                return name, float(struct.unpack("<f", single)[0])
            case 2, [3]:
                return name, _signed(_number(found[_ATTRIBUTE_INT]))
            case 7, [8]:
                return name, tuple(whole)
            case _:
                raise InputError("an operator's attribute is of a kind that no model here needs")

    def _entry(self, message: _Bytes) -> tuple[str, str]:
        """A StringStringEntryProto."""
        texts = {part: _text(value, len(message)) for part, value in self._fields(message)}
        return texts.get(1, ""), texts.get(2, "")

    def _fields(self, message: _Bytes) -> Iterator[tuple[int, int | _Bytes]]:
        """The (field number, value) pairs of a protobuf message; bytes are views, not copies."""
        at, end = 0, len(message)
        while at < end:
            self._fields_left -= 1
            tag, at = _varint(message, at)
            number, wire_type = tag >> 3, tag & 7
            # protobuf drops what is above 32 bits: a field could have another number there
            if self._fields_left < 0 or tag > 0xFFFFFFFF or number == 0:
                raise _Damaged
            if wire_type == _VARINT:
                value, at = _varint(message, at)
                yield number, value
                continue
            if wire_type == _BYTES:
                length, at = _varint(message, at)
            elif wire_type in (_FIXED32, _FIXED64):
                length = 4 if wire_type == _FIXED32 else 8
            else:
                raise _Damaged
            if length > end - at:
                raise _Damaged
            yield number, message[at : at + length]
            at += length


def _check_domain(value: int | _Bytes) -> str:
    """The name of an operator domain, "" for ONNX's own."""
    name = _text(value)
    domain = "" if name == "ai.onnx" else name
    if domain not in OPERATORS:
        raise InputError(f"it uses unknown operators: {name[:40]!a}")
    return domain


def _text(value: int | _Bytes, max_bytes: int = MAX_TEXT_BYTES) -> str:
    message = _message(value)
    if len(message) > max_bytes:
        raise _Damaged
    try:
        return bytes(message).decode()
    except UnicodeDecodeError:
        raise _Damaged from None


def _message(value: int | _Bytes) -> _Bytes:
    if isinstance(value, int):
        raise _Damaged
    return value


def _number(value: int | _Bytes) -> int:
    if not isinstance(value, int):
        raise _Damaged
    return value


def _signed(value: int) -> int:
    """An int64 of what protobuf writes for it, its two's complement."""
    return value - 2**64 if 2**63 <= value < 2**64 else value


def _varint(message: _Bytes, at: int) -> tuple[int, int]:
    """The little-endian base-128 number at `at`, and where it ends."""
    if at < len(message) and (byte := message[at]) < 0x80:  # most are: a quarter of all time
        return byte, at + 1
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise _Damaged
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _Damaged
