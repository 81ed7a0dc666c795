"""The text to learn from or to score: files, or what needs no file; and where it is split."""

import codecs
import hashlib
import http.client
import ssl
import sys
import unicodedata
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from minigpt.errors import InputError
from minigpt.files import open_regular, read_bytes, refuse_to_overwrite, write_atomically
from minigpt.tokenizer import CharTokenizer

Ids = npt.NDArray[np.unsignedinteger]
"""Of 8, 16 or 32 bits."""

SHAKESPEARE_URL = (
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
)
SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
TRAIN_SHARE = 0.9
WANTED = "a UTF-8 text file"
_HAS_NUL = "{} is not text: it has NUL bytes; give " + WANTED


@dataclass(frozen=True, slots=True)
class Corpus:
    """A text to learn from."""

    name: str
    text: str

    @property
    def sha256(self) -> str:
        """Of the text in UTF-8."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class TokenizedCorpus:
    """A text as ids: all that training needs of it. `training/shards.py` makes those of files."""

    name: str
    sha256: str
    """Of the text in UTF-8."""
    tokenizer: CharTokenizer
    """Its vocabulary is the text's, so there is an id for every character."""
    ids: Ids

    @classmethod
    def from_corpus(cls, corpus: Corpus) -> Self:
        """Tokenize a text that is in memory."""
        tokenizer = CharTokenizer.from_text(corpus.text)
        return cls(corpus.name, corpus.sha256, tokenizer, tokenizer.encode_array(corpus.text))


def read_corpus(paths: Sequence[Path]) -> Corpus:
    r"""Read UTF-8 text files, one after the other; "\r\n" becomes "\n", a byte order mark goes.

    Raises:
        InputError: a file is missing, empty, not UTF-8 (the message says where) or not text.
    """
    return Corpus(corpus_name(paths), "\n".join(_read_text(path) for path in paths))


def corpus_name(paths: Sequence[Path]) -> str:
    """What several files are called together."""
    return " + ".join(path.name for path in paths)


def _read_text(path: Path) -> str:
    content = read_bytes(path, WANTED)
    begin = text_begin(content)
    text = decoded(content[begin:], path, begin)
    check_characters(text, path)
    return text


def text_begin(content: bytes) -> int:
    """Where the text of a file begins: behind the byte order mark, if there is one."""
    return len(codecs.BOM_UTF8) if content.startswith(codecs.BOM_UTF8) else 0


def decoded(content: bytes, path: Path, start: int) -> str:
    r"""The text of a file's bytes from `start` on, with "\n" for "\r\n".

    Raises:
        InputError: it is not UTF-8; the message says where in the file.
    """
    try:
        return content.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        if not start:
            _refuse_utf_16(content, path)
        at = start + error.start
        raise InputError(
            f"{path} is not UTF-8 text: byte {at} (line {_line(path, at)}) is "
            f"0x{content[error.start]:02x}; convert it to UTF-8 first"
        ) from None


def check_characters(characters: str, path: Path) -> None:
    """Refuse a file for the characters that it has; how often and where is of no matter.

    Raises:
        InputError: there are none but white space, or NUL is among them.
    """
    if not characters.strip():
        raise InputError(f"{path} is empty or blank; give a text file with something to learn from")
    if "\0" in characters:
        raise InputError(_HAS_NUL.format(path))


def check_beginning(path: Path) -> None:
    """Refuse what is no text at the first sight, before anything else is wrong with a command.

    Raises:
        InputError: the file is missing, or NUL is among its first bytes.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; give {WANTED}, or all of it: {path / '*.txt'}")
    with open_regular(path, WANTED) as file:
        start = file.read(2**16)
    _refuse_utf_16(start, path)
    if b"\0" in start:
        raise InputError(_HAS_NUL.format(path))


def _refuse_utf_16(content: bytes, path: Path) -> None:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # UTF-32 begins so, too
        raise InputError(f"{path} is UTF-16 text; save it as UTF-8 in the editor it is from")


def _line(path: Path, at: int) -> int:
    """The line of a file that the byte at `at` is in, from 1 on."""
    n_breaks = 0
    with open_regular(path, WANTED) as file:
        while piece := file.read(min(at - file.tell(), 2**20)):  # fewer, if it was cut meanwhile
            n_breaks += piece.count(b"\n")
    return n_breaks + 1


def pydoc_corpus() -> Corpus:
    """The Python documentation's topics, which come with every Python: no download needed.

    About half a million characters; they differ a little between Python versions.
    """
    from pydoc_data.topics import topics

    text = "\n\n".join(topics[name] for name in sorted(topics))
    # a few typographic characters would each cost a row of the vocabulary
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return Corpus("pydoc", plain)


def download_shakespeare(path: Path, *, force: bool) -> int:
    """Fetch tiny Shakespeare (1.1 MB) to `path` and check that it is what everybody uses.

    Returns:
        The number of bytes written.

    Raises:
        InputError: `path` exists and `force` is not set, there is no connection, or what came is
            something else.
    """
    refuse_to_overwrite(path, force=force)
    try:
        with urllib.request.urlopen(SHAKESPEARE_URL, timeout=30) as reply:
            content: bytes = reply.read(2**24)
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        reason = getattr(error, "reason", error)
        advice = "check the connection"
        if sys.platform == "darwin" and isinstance(reason, ssl.SSLCertVerificationError):
            # python.org's Python trusts nobody until this was run
            advice = "open 'Install Certificates.command' in the folder of your Python"
        raise InputError(
            f"cannot download {SHAKESPEARE_URL}: {reason}; {advice}, or train on a text file of "
            "your own or on --corpus pydoc"
        ) from None
    if hashlib.sha256(content).hexdigest() != SHAKESPEARE_SHA256:
        raise InputError(
            f"{SHAKESPEARE_URL} sent something else than tiny Shakespeare (sha256 differs); "
            "nothing was written"
        )
    write_atomically(path, content)
    return len(content)


def split(ids: Ids) -> tuple[Ids, Ids]:
    """The first 90% to train on and the last 10% to validate on, as everybody in the field does."""
    n_train = int(len(ids) * TRAIN_SHARE)
    return ids[:n_train], ids[n_train:]


def check_length(ids: Ids, block_size: int, *, fixed: bool = False) -> None:
    """Refuse a text too short to train or validate on.

    Args:
        ids: the text.
        block_size: of a window.
        fixed: whether the model can have no other.

    Raises:
        InputError: the training part is shorter than a window and its target, or the validation
            part than one token and its target.
    """
    train, val = split(ids)
    if len(train) <= block_size or len(val) < 2:
        helps = len(val) >= 2 and not fixed
        smaller = ", or --set block_size=N" if helps else ""
        raise InputError(
            f"the text has {len(ids)} characters, too few for windows of {block_size}: give it at "
            f"least {max(20, int((block_size + 1) / TRAIN_SHARE) + 1)}{smaller}"
        )
