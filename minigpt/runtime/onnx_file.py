"""Open a .onnx file that came from anywhere: read what it says of itself, or say why not.

A model file is data from a stranger, and onnxruntime is asked only after these checks: the file is
bounded in size, complete, of a form this version knows, keeps all its weights inside (no external
data in any disguise: `onnx_walk`), has the operators that the export writes for that config, wired
alike (`onnx_graph`), and its graph and metadata are those whose hash was stored at the export.

What a refusal costs is bounded by what is looked at and not by the size of the file: MAX_FIELDS
fields (a second and 100 MB of names at worst), MAX_METADATA_BYTES of metadata, and nothing of the
weights of a large file before all the rest of it is right.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from minigpt.config import GPTConfig, ModelCard, from_json
from minigpt.errors import InputError
from minigpt.files import open_regular
from minigpt.runtime.draft import MAX_STORED_CHARS, Draft
from minigpt.runtime.onnx_graph import PRECISIONS, Graph, Precision
from minigpt.runtime.onnx_walk import (
    MAX_METADATA_BYTES,
    MAX_TEXT_BYTES,
    Bytes,
    Damaged,
    Model,
    Unread,
    Walk,
)
from minigpt.tokenizer import CharTokenizer

FORMAT = 2
"""The form of graph and metadata; a file that says more was written by a newer minigpt.

2: the logits have a column for `<|endoftext|>`, see `GPTConfig.exported_vocab_size`.
"""

MAX_FILE_BYTES = 2**31 - 1  # a protobuf message cannot be larger
MAX_DECODER_BYTES = 2**32  # of keys, values and logits; GPT-2's largest model takes 0.8 GB
UNREAD_FROM_BYTES = 2**24  # smaller files are read at once, in 50 ms

WANTED = "the .onnx file that minigpt export wrote"

FORMAT_KEY = "minigpt.format"
CONFIG_KEY = "minigpt.config"
TOKENIZER_KEY = "minigpt.tokenizer"
CARD_KEY = "minigpt.card"
PARITY_KEY = "minigpt.parity"
DRAFT_KEY = "minigpt.draft"
HASH_KEY = "minigpt.blake2b"
TEXT_KEYS = (CONFIG_KEY, TOKENIZER_KEY, CARD_KEY, PARITY_KEY, DRAFT_KEY)
"""What is hashed beside the graph, in this order."""
_MAX_TEXTS = {TOKENIZER_KEY: MAX_METADATA_BYTES, DRAFT_KEY: MAX_STORED_CHARS}


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
    checksum: str = ""
    """Of its graph, weights and metadata: see `content_hash`."""


def open_onnx(path: Path) -> OnnxFile:
    """Read and check a model file.

    Raises:
        InputError: it is missing, damaged, not written by minigpt, by an older or a newer one, or
            it asks for something no model of ours needs. onnxruntime has not seen it then.
    """
    with open_regular(path, WANTED, MAX_FILE_BYTES) as file:
        n_bytes = os.fstat(file.fileno()).st_size
        if n_bytes >= UNREAD_FROM_BYTES:
            with _naming(path):
                _check(Unread(file, 0, n_bytes))
            file.seek(0)
        content = file.read(n_bytes)
    return check_onnx(path, content)


def read_card(path: Path) -> tuple[GPTConfig, ModelCard, str]:
    """What a model file says of itself, and its checksum, checked as by `open_onnx` but for that.

    Its weights are not read: for 11 MB it takes a third of the time that `open_onnx` takes, and no
    longer for a file of a gigabyte. So a bit that is wrong in them shows when the file is opened.

    Raises:
        InputError: as `open_onnx`.
    """
    with open_regular(path, WANTED, MAX_FILE_BYTES) as file, _naming(path):
        config, _, card, *_, checksum = _check(Unread(file, 0, os.fstat(file.fileno()).st_size))
    return config, card, checksum


def _check_window(config: GPTConfig) -> None:
    """See that keys, values and logits of a whole window are not too much for any machine.

    Raises:
        InputError: they take more than MAX_DECODER_BYTES.
    """
    cached = 2 * config.n_layer * config.n_embd
    if 4 * config.block_size * (cached + config.exported_vocab_size) > MAX_DECODER_BYTES:
        raise InputError(
            f"a window of {config.block_size} tokens of this model takes more than "
            f"{MAX_DECODER_BYTES} bytes of memory"
        )


def check_fits(config: GPTConfig, precision: Precision) -> None:
    """See that a file can hold a model, and that `open_onnx` would take it.

    Raises:
        InputError: its weights take more than a file can hold, or as `_check_window`.
    """
    _check_window(config)
    n_bytes = sum(weight.n_bytes for weight in Graph(config, precision).weights.values())
    most = MAX_FILE_BYTES - 2 * MAX_METADATA_BYTES  # the texts, and then the nodes
    if n_bytes > most:
        raise InputError(
            f"{config.n_params():,} parameters take {n_bytes / 1e9:.2f} GB in {precision}, and a "
            f".onnx file holds {most / 1e9:.2f}"
        )


def check_onnx(path: Path, content: bytes) -> OnnxFile:
    """The checks of `open_onnx` on a file's content; `path` is for the messages.

    Raises:
        InputError: as `open_onnx`.
    """
    with _naming(path):
        if content[4:8] == b"ORTM":  # onnxruntime would not take it for ONNX, but for its own
            raise Damaged
        config, tokenizer, card, parity, draft, checksum = _check(memoryview(content))
    return OnnxFile(path, config, tokenizer, card, content, parity, draft, checksum)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let what is wrong be one sentence that begins with the file's name."""
    try:
        yield
    except Damaged:
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


def _check(content: Bytes) -> tuple[GPTConfig, CharTokenizer, ModelCard, str, Draft, str]:
    """What a model file says of itself, report and checksum as they stand, if all of it is right.

    Only the checksum of a file that is still unread is left to be checked.
    """
    walk = Walk()
    model = walk.model(content)
    metadata = model.metadata
    _check_format(metadata)  # first, as graphs of another have other operators
    walk.graph(model.graph)
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
    return config, tokenizer, card, metadata[PARITY_KEY], draft, metadata[HASH_KEY]


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


def _check_graph(model: Model, config: GPTConfig, card: ModelCard) -> None:
    """Compare the graph with the one that an export writes, and with what decoding may take."""
    if not math.isfinite(card.val_loss):
        raise InputError(f"it is damaged: its val_loss is {card.val_loss}")
    if card.precision not in PRECISIONS:
        raise InputError(
            f"its precision must be one of {', '.join(PRECISIONS)}, not {card.precision[:20]!r}"
        )
    _check_window(config)
    expected = Graph(config, card.precision)
    if model.nodes != expected.nodes:
        raise InputError("its graph is not the one that minigpt export writes for its config")
    if model.weights != expected.weights:
        raise InputError("its weights are not those that its config has")
