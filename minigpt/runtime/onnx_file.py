"""Open a .onnx file that came from anywhere: read what it says of itself, or say why not.

A model file is data from a stranger, and onnxruntime is asked only after these checks. They read
the protobuf wire format itself, so that neither the onnx package nor any parser of untrusted
structures is needed: the file is bounded in size, complete, of a form this version knows, keeps
all its weights inside (no external data in any disguise), uses only the operators that exported
graphs are made of, and its graph and metadata are those whose hash was stored at the export.

Field numbers are those of onnx.proto (IR version 10).
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from minigpt.config import GPTConfig, ModelCard, from_json
from minigpt.errors import InputError
from minigpt.files import read_bytes
from minigpt.runtime.draft import Draft
from minigpt.tokenizer import CharTokenizer

FORMAT = 2
"""The form of graph and metadata; a file that says more was written by a newer minigpt.

2: the logits have a column for `<|endoftext|>`, see `GPTConfig.exported_vocab_size`.
"""

MAX_FILE_BYTES = 2**31 - 1  # a protobuf message cannot be larger
MAX_METADATA_BYTES = 16 * 2**20
MAX_FIELDS = 100_000  # a 12-layer model has some 3,000; so many are walked in 0.2 s

FORMAT_KEY = "minigpt.format"
CONFIG_KEY = "minigpt.config"
TOKENIZER_KEY = "minigpt.tokenizer"
CARD_KEY = "minigpt.card"
PARITY_KEY = "minigpt.parity"
DRAFT_KEY = "minigpt.draft"
HASH_KEY = "minigpt.blake2b"
TEXT_KEYS = (CONFIG_KEY, TOKENIZER_KEY, CARD_KEY, PARITY_KEY, DRAFT_KEY)
"""What is hashed beside the graph, in this order."""

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
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE_INITIALIZER = 1, 5, 15
_NODE_INPUT, _NODE_OPERATOR, _NODE_ATTRIBUTE, _NODE_DOMAIN = 1, 4, 5, 7
_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 13, 14
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


def open_onnx(path: Path) -> OnnxFile:
    """Read and check a model file.

    Raises:
        InputError: it is missing, damaged, not written by minigpt, by an older or a newer one, or
            it asks for something no model of ours needs. onnxruntime has not seen it then.
    """
    content = read_bytes(path, "the .onnx file that minigpt export wrote", MAX_FILE_BYTES)
    return check_onnx(path, content)


def check_onnx(path: Path, content: bytes) -> OnnxFile:
    """The checks of `open_onnx` on a file's content; `path` is for the messages.

    Raises:
        InputError: as `open_onnx`.
    """
    try:
        return _check(path, content)
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


def _check(path: Path, content: bytes) -> OnnxFile:
    if content[4:8] == b"ORTM":  # onnxruntime would take it for its own format, and not as ONNX
        raise _Damaged
    metadata, graph = _Walk().model(content)
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
    if missing := {*TEXT_KEYS, HASH_KEY} - set(metadata):
        raise InputError(f"it is damaged: its metadata lacks {sorted(missing)[0]}")
    if metadata[HASH_KEY] != content_hash(graph, *(metadata[key] for key in TEXT_KEYS)):
        raise InputError("it is damaged: its content does not match its checksum")
    config = from_json(GPTConfig, metadata[CONFIG_KEY])
    tokenizer = CharTokenizer.from_json(metadata[TOKENIZER_KEY])
    card = from_json(ModelCard, metadata[CARD_KEY])
    if tokenizer.vocab_size != config.vocab_size:
        raise InputError(
            f"it is damaged: its tokenizer has {tokenizer.vocab_size} characters, "
            f"its model {config.vocab_size}"
        )
    draft = Draft.from_stored(metadata[DRAFT_KEY], config.vocab_size)
    return OnnxFile(path, config, tokenizer, card, content, metadata[PARITY_KEY], draft)


class _Walk:
    """One walk through a file, with a limit on the number of fields it looks at."""

    def __init__(self) -> None:
        self._fields_left = MAX_FIELDS

    def model(self, content: bytes) -> tuple[dict[str, str], memoryview]:
        """The metadata and the serialized graph of a model that asks for nothing unusual."""
        metadata: dict[str, str] = {}
        graphs: list[memoryview] = []
        metadata_bytes = 0
        for number, value in self._fields(memoryview(content)):
            if number == _MODEL_METADATA:
                metadata_bytes += len(_message(value))
                if metadata_bytes > MAX_METADATA_BYTES:
                    raise InputError(f"it has more than {MAX_METADATA_BYTES} bytes of metadata")
                key, text = self._entry(_message(value))
                if key in metadata:
                    raise InputError(f"its metadata has {key[:40]!a} twice")
                metadata[key] = text
            elif number == _MODEL_GRAPH:
                graphs.append(_message(value))
            elif number == _MODEL_OPSET:
                for field, domain in self._fields(_message(value)):
                    if field == 1:
                        _check_domain(domain)
            elif number in (_MODEL_FUNCTIONS, _MODEL_TRAINING):
                raise InputError("it has functions or training graphs, which no model here needs")
        if len(graphs) != 1:  # protobuf would merge several into one
            raise _Damaged
        self._graph(graphs[0])
        return metadata, graphs[0]

    def _graph(self, graph: memoryview) -> None:
        for number, value in self._fields(graph):
            if number == _GRAPH_SPARSE_INITIALIZER:
                raise InputError("it has sparse weights, which may hide external data")
            if number == _GRAPH_INITIALIZER:
                for field, location in self._fields(_message(value)):
                    external = field == _TENSOR_EXTERNAL_DATA
                    if external or (field == _TENSOR_DATA_LOCATION and location != 0):
                        raise InputError("its weights are in another file; only one file is read")
            elif number == _GRAPH_NODE:
                self._node(_message(value))

    def _node(self, node: memoryview) -> None:
        domain, operators, last_input = "", [], "none"
        for field, part in self._fields(node):
            if field == _NODE_INPUT:
                last_input = _text(part)
            elif field == _NODE_DOMAIN:
                domain = _check_domain(part)
            elif field == _NODE_OPERATOR:
                operators.append(_text(part))
            elif field == _NODE_ATTRIBUTE:
                inside = {number for number, _ in self._fields(_message(part))}
                if not inside <= _PLAIN_ATTRIBUTE_FIELDS:
                    raise InputError("an operator's attribute holds a tensor or a graph")
        if len(operators) != 1 or operators[0] not in OPERATORS[domain]:
            raise InputError(f"it uses an operator that no model here does: {operators!a:.60}")
        if not last_input:  # onnxruntime 1.31 crashes on some operators whose last input is ""
            raise InputError("an operator's last input has no name, which none of ours lacks")

    def _entry(self, message: memoryview) -> tuple[str, str]:
        """A StringStringEntryProto."""
        parts = {number: _text(value) for number, value in self._fields(message)}
        return parts.get(1, ""), parts.get(2, "")

    def _fields(self, message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
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


def _check_domain(value: int | memoryview) -> str:
    """The name of an operator domain, "" for ONNX's own."""
    name = _text(value)
    domain = "" if name == "ai.onnx" else name
    if domain not in OPERATORS:
        raise InputError(f"it uses unknown operators: {name[:40]!a}")
    return domain


def _text(value: int | memoryview) -> str:
    try:
        return bytes(_message(value)).decode()
    except UnicodeDecodeError:
        raise _Damaged from None


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise _Damaged
    return value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """The little-endian base-128 number at `at`, and where it ends."""
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
