r"""Texts larger than memory: tokenized by several processes, the ids mapped from the disk.

What comes out is what the way through memory gives (`corpus.read_corpus` and
`TokenizedCorpus.from_corpus`): the same vocabulary, the same ids, the same hash, the same errors.

The files are read in pieces of a megabyte that end between two characters, and never between "\r"
and "\n", so each can be decoded alone. Three times: for the hash, one piece after the other; side
by side for the characters there are; side by side for the ids, where each piece knows its place in
one file because the pieces before it were counted.

The ids are kept under the hash of the text, `HASH.1.ids`, in the fewest bytes that hold the
vocabulary, little-endian. `HASH.1.json` beside it has the vocabulary and a checksum of all; it is
written last, so ids without it, or that differ from it, are ids half written, and made again.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from minigpt.cores import usable_cores
from minigpt.corpus import (
    WANTED,
    TokenizedCorpus,
    check_characters,
    corpus_name,
    decoded,
    read_corpus,
    text_begin,
)
from minigpt.errors import InputError
from minigpt.files import open_atomically, open_regular, write_atomically
from minigpt.tokenizer import CharTokenizer, code_points
from minigpt.training.lock import claim, remove_abandoned
from minigpt.training.parallel import map_parallel

FORMAT = 1
LARGE_BYTES = 50_000_000
"""From here on a text is worth a file of ids; half as much takes a second in memory."""
PIECE_BYTES = 2**20
MAX_PROCESSES = 8
"""Each takes some 60 MB; the hash alone, in one process, takes as long as eight do for the rest."""

Report = Callable[[str, int, int], None]
"""Takes in what is being done, and how many bytes of how many it is done for."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a file: whole characters."""

    path: Path
    start: int
    stop: int
    before: str
    """What goes before it: the line's end between two files."""
    last: bool
    """Of its file."""

    def content(self) -> bytes:
        """Its bytes."""
        with open_regular(self.path, WANTED) as file:
            file.seek(self.start)
            return file.read(self.stop - self.start)

    def text(self) -> str:
        """Its text, as `corpus.read_corpus` has it."""
        return self.before + decoded(self.content(), self.path, self.start)


def read_tokenized(
    paths: Sequence[Path], cache: Path, report: Report = lambda *_: None
) -> TokenizedCorpus:
    """Tokenize files: in memory if they are small, else by `prepare`, whose arguments these are.

    Raises:
        InputError: as `corpus.read_corpus` and `prepare` do.
    """
    if total_bytes(paths) < LARGE_BYTES:
        return TokenizedCorpus.from_corpus(read_corpus(paths))
    return prepare(paths, cache, report)


def total_bytes(paths: Iterable[Path]) -> int:
    """The size of all files."""
    return sum(_stat(path).st_size for path in paths)


def prepare(
    paths: Sequence[Path],
    cache: Path,
    report: Report = lambda *_: None,
    *,
    piece_bytes: int = PIECE_BYTES,
    processes: int | None = None,
) -> TokenizedCorpus:
    """Tokenize files of any size in little memory, or find that it was done before.

    Args:
        paths: UTF-8 text files.
        cache: folder for the ids; made if it is needed.
        report: called after each piece.
        piece_bytes: about how much is read at once.
        processes: how many work side by side; by default one a core, and not too many.

    Returns:
        The corpus; its ids are mapped from the disk, to be read only.

    Raises:
        InputError: as `corpus.read_corpus`; or a file changed meanwhile, or the ids cannot be
            written.
    """
    found = [_stat(path) for path in paths]
    pieces = [
        piece
        for i, path in enumerate(paths)
        for piece in _pieces(path, piece_bytes, before="\n" if i else "")
    ]
    sha256 = _hashed(pieces, report)
    ids_path = cache / f"{sha256}.{FORMAT}.ids"
    if (chars := _known_vocabulary(ids_path)) is None:
        try:
            cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot write to {cache}: {error.strerror}") from None
        n = processes or min(MAX_PROCESSES, usable_cores())
        remove_abandoned(cache.glob(".*.ids.*.tmp"))  # of `open_atomically`, when it was killed
        chars, lengths = _surveyed(pieces, n, report)
        with open_atomically(ids_path) as file:
            claim(file)
            _encode_all(pieces, lengths, chars, Path(file.name), n, report)
            for path, then in zip(paths, found, strict=True):
                now = _stat(path)
                if (now.st_size, now.st_mtime_ns) != (then.st_size, then.st_mtime_ns):
                    raise InputError(f"{path} changed while it was read; start again")
        facts = {"chars": chars, "checksum": _checksum(ids_path, chars)}
        write_atomically(_facts_path(ids_path), json.dumps(facts).encode())
    tokenizer = CharTokenizer(chars)
    mapped = np.memmap(ids_path, _dtype(tokenizer.vocab_size), "r")
    return TokenizedCorpus(corpus_name(paths), sha256, tokenizer, np.asarray(mapped))


def _stat(path: Path) -> os.stat_result:
    with open_regular(path, WANTED) as file:
        return os.fstat(file.fileno())


def _pieces(path: Path, size: int, before: str) -> Iterator[Piece]:
    """The pieces of a file, in order; one at least."""
    with open_regular(path, WANTED) as file:
        end = os.fstat(file.fileno()).st_size
        start = text_begin(file.read(3))
        for near in range(start + size, end, size):
            file.seek(near - 1)
            stop = near + _to_next_character(file.read(4))
            if start < stop < end:
                yield Piece(path, start, stop, before, last=False)
                start, before = stop, ""
        yield Piece(path, start, end, before, last=True)


def _to_next_character(around: bytes) -> int:
    r"""How many bytes behind the first one a character begins; 3 at most, more is not UTF-8.

    >>> [_to_next_character(x) for x in (b"abcd", "aé".encode(), "aé".encode()[1:], b"\r\nab")]
    [0, 0, 1, 1]
    """
    if around[:2] == b"\r\n":
        return 1
    rest = around[1:]
    return len(rest) - len(rest.lstrip(bytes(range(0x80, 0xC0))))


def _hashed(pieces: Sequence[Piece], report: Report) -> str:
    """The hash of the whole text, for which nothing needs decoding."""
    hashed = hashlib.sha256()
    for piece in _reported(pieces, pieces, "hash", report):
        hashed.update(piece.before.encode() + piece.content().replace(b"\r\n", b"\n"))
    return hashed.hexdigest()


def _surveyed(pieces: Sequence[Piece], processes: int, report: Report) -> tuple[str, list[int]]:
    """The characters of all pieces, in code point order, and how many each piece has."""
    seen: set[str] = set()
    in_file: set[str] = set()
    lengths: list[int] = []
    with closing(map_parallel(_survey, pieces, processes)) as results:
        found = _reported(results, pieces, "characters", report)
        for piece, (chars, length) in zip(pieces, found, strict=True):
            in_file.update(chars)
            lengths.append(length)
            if piece.last:
                check_characters("".join(in_file), piece.path)
                seen |= in_file
                in_file.clear()
    return CharTokenizer.from_text("".join(seen)).chars, lengths


def _survey(piece: Piece) -> tuple[str, int]:
    text = piece.text()
    seen = np.zeros(0x110000, bool)  # of every code point; four times as fast as set(text)
    seen[code_points(text)] = True
    return "".join(map(chr, seen.nonzero()[0])), len(text)


def _encode_all(
    pieces: Sequence[Piece],
    lengths: Sequence[int],
    chars: str,
    target: Path,
    processes: int,
    report: Report,
) -> None:
    """Write the ids of all pieces into one file."""
    starts = accumulate(lengths, initial=0)
    places = list(zip(pieces, starts, strict=False))
    tokenizer = CharTokenizer(chars)
    os.truncate(target, sum(lengths) * np.dtype(_dtype(tokenizer.vocab_size)).itemsize)
    with closing(map_parallel(partial(_encode, tokenizer, target), places, processes)) as done:
        for _ in _reported(done, pieces, "ids", report):
            pass


def _encode(tokenizer: CharTokenizer, target: Path, place: tuple[Piece, int]) -> None:
    """Write the ids of a piece where they belong."""
    piece, start = place
    ids = tokenizer.encode_array(piece.text()).astype(_dtype(tokenizer.vocab_size))
    try:
        with target.open("r+b") as file:
            file.seek(start * ids.itemsize)
            file.write(ids.tobytes())
    except OSError as error:
        needed_mb = target.stat().st_size / 1e6
        raise InputError(
            f"cannot write the ids of the text, {needed_mb:,.0f} MB, to {target.parent}: "
            f"{error.strerror}"
        ) from None


def _dtype(vocab_size: int) -> npt.DTypeLike:
    return "<u1" if vocab_size <= 2**8 else "<u2" if vocab_size <= 2**16 else "<u4"


def _facts_path(ids_path: Path) -> Path:
    return ids_path.with_suffix(".json")


def _known_vocabulary(ids_path: Path) -> str | None:
    """The vocabulary of ids that are on the disk, whole; else None."""
    try:
        facts = json.loads(_facts_path(ids_path).read_text(encoding="utf-8"))
        chars = str(facts["chars"])
        whole = bool(chars) and facts["checksum"] == _checksum(ids_path, chars)
    except (OSError, InputError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return chars if whole else None


def _checksum(ids_path: Path, chars: str) -> int:
    """CRC-32, against accidents: of the vocabulary and the ids. A gigabyte takes half a second."""
    checksum = zlib.crc32(chars.encode())
    with open_regular(ids_path, "ids") as file:
        while part := file.read(2**20):
            checksum = zlib.crc32(part, checksum)
    return checksum


def _reported(
    results: Iterable[Result], pieces: Sequence[Piece], what: str, report: Report
) -> Iterator[Result]:
    """The results of the pieces, in order, telling of each."""
    total = sum(piece.stop - piece.start for piece in pieces)
    done = 0
    for piece, result in zip(pieces, results, strict=True):
        yield result
        done += piece.stop - piece.start
        report(what, done, total)
