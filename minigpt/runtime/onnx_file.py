"""Open a .onnx file that came from anywhere: read what it says of itself, or say why not.

A model file is data from a stranger, and onnxruntime is asked only after these checks. They read
the protobuf wire format itself, so that neither the onnx package nor any parser of untrusted
structures is needed: the file is bounded in size, complete, of a form this version knows, keeps
all its weights inside (no external data in any disguise), uses plain operators of the two known
domains only, and its graph is the one whose hash was stored when it was exported.

Field numbers are those of onnx.proto (IR version 10).
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from minigpt.config import GPTConfig, ModelCard, from_json
from minigpt.errors import InputError
from minigpt.tokenizer import CharTokenizer

FORMAT = 1
"""The form of the metadata; a file that says more was written by a newer minigpt."""

MAX_FILE_BYTES = 2**31 - 1  # a protobuf message cannot be larger
MAX_METADATA_BYTES = 16 * 2**20
DOMAINS = frozenset({b"", b"ai.onnx", b"com.microsoft"})

FORMAT_KEY = "minigpt.format"
CONFIG_KEY = "minigpt.config"
TOKENIZER_KEY = "minigpt.tokenizer"
CARD_KEY = "minigpt.card"
HASH_KEY = "minigpt.graph_blake2b"

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MODEL_OPSET, _MODEL_GRAPH, _MODEL_METADATA, _MODEL_TRAINING, _MODEL_FUNCTIONS = 8, 7, 14, 20, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE_INITIALIZER = 1, 5, 15
_NODE_ATTRIBUTE, _NODE_DOMAIN = 5, 7
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


class _Damaged(Exception):
    """The bytes are not a protobuf message."""


def open_onnx(path: Path) -> OnnxFile:
    """Read and check a model file.

    Raises:
        InputError: it is missing, damaged, not written by minigpt, by a newer one, or it asks for
            something no model of ours needs. onnxruntime has not seen it then.
    """
    content = _read(path)
    try:
        metadata, graph = _walk_model(path, content)
    except _Damaged:
        raise InputError(
            f"{path} is not a complete .onnx file: it was cut short, damaged, or is something else"
        ) from None
    if FORMAT_KEY not in metadata:
        raise InputError(f"{path} was not made by minigpt export: it carries no minigpt metadata")
    if metadata[FORMAT_KEY] != str(FORMAT):
        raise InputError(
            f"{path} has format {metadata[FORMAT_KEY][:20]!r}, this minigpt reads {FORMAT}: "
            "install a newer minigpt"
        )
    if missing := {CONFIG_KEY, TOKENIZER_KEY, CARD_KEY, HASH_KEY} - set(metadata):
        raise InputError(f"{path} is damaged: its metadata lacks {sorted(missing)[0]}")
    if metadata[HASH_KEY] != graph_hash(graph):
        raise InputError(f"{path} is damaged: its content does not match its checksum")
    try:
        config = from_json(GPTConfig, metadata[CONFIG_KEY])
        tokenizer = CharTokenizer.from_json(metadata[TOKENIZER_KEY])
        card = from_json(ModelCard, metadata[CARD_KEY])
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if tokenizer.vocab_size != config.vocab_size:
        raise InputError(
            f"{path} is damaged: its tokenizer has {tokenizer.vocab_size} characters, "
            f"its model {config.vocab_size}"
        )
    return OnnxFile(path, config, tokenizer, card, content)


def graph_hash(graph: bytes | memoryview) -> str:
    """The checksum stored under HASH_KEY: of the serialized graph, weights included.

    BLAKE2b is in the standard library and takes about half of SHA-256's time where the processor
    has no instructions for that one.
    """
    return hashlib.blake2b(graph, digest_size=32).hexdigest()


def _read(path: Path) -> bytes:
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise InputError(f"{path} {what}; give the .onnx file that minigpt export wrote")
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise InputError(f"{path} has {size} bytes; an .onnx file has at most {MAX_FILE_BYTES}")
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None


def _walk_model(path: Path, content: bytes) -> tuple[dict[str, str], memoryview]:
    """The metadata and the serialized graph of a model that asks for nothing unusual."""
    metadata: dict[str, str] = {}
    graphs: list[memoryview] = []
    metadata_bytes = 0
    for number, value in _fields(memoryview(content)):
        if number == _MODEL_METADATA:
            metadata_bytes += len(_message(value))
            if metadata_bytes > MAX_METADATA_BYTES:
                raise InputError(
                    f"{path} is refused: more than {MAX_METADATA_BYTES} metadata bytes"
                )
            key, text = _entry(_message(value))
            if key in metadata:
                raise InputError(f"{path} is refused: its metadata has {key!a} twice")
            metadata[key] = text
        elif number == _MODEL_GRAPH:
            graphs.append(_message(value))
        elif number == _MODEL_OPSET:
            for field, domain in _fields(_message(value)):
                if field == 1:
                    _check_domain(path, _message(domain))
        elif number in (_MODEL_FUNCTIONS, _MODEL_TRAINING):
            raise InputError(f"{path} is refused: a model needs no functions or training graphs")
    if len(graphs) != 1:
        raise _Damaged
    _check_graph(path, graphs[0])
    return metadata, graphs[0]


def _check_graph(path: Path, graph: memoryview) -> None:
    for number, value in _fields(graph):
        if number == _GRAPH_SPARSE_INITIALIZER:
            raise InputError(f"{path} is refused: sparse weights may hide external data")
        if number == _GRAPH_INITIALIZER:
            for field, location in _fields(_message(value)):
                external = field == _TENSOR_EXTERNAL_DATA
                if external or (field == _TENSOR_DATA_LOCATION and location != 0):
                    raise InputError(f"{path} is refused: its weights are in another file")
        elif number == _GRAPH_NODE:
            for field, part in _fields(_message(value)):
                if field == _NODE_DOMAIN:
                    _check_domain(path, _message(part))
                elif field == _NODE_ATTRIBUTE:
                    inside = {f for f, _ in _fields(_message(part))}
                    if not inside <= _PLAIN_ATTRIBUTE_FIELDS:
                        raise InputError(
                            f"{path} is refused: an operator's attribute holds a tensor or a graph"
                        )


def _check_domain(path: Path, domain: memoryview) -> None:
    if bytes(domain) not in DOMAINS:
        raise InputError(f"{path} is refused: unknown operators {bytes(domain)[:40]!r}")


def _entry(message: memoryview) -> tuple[str, str]:
    """A StringStringEntryProto."""
    parts = {number: bytes(_message(value)) for number, value in _fields(message)}
    try:
        return parts.get(1, b"").decode(), parts.get(2, b"").decode()
    except UnicodeDecodeError:
        raise _Damaged from None


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise _Damaged
    return value


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The (field number, value) pairs of a protobuf message; bytes are views, not copies."""
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        number, wire_type = tag >> 3, tag & 7
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
