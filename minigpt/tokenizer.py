"""Text to ids and back, one id per character; its file form is a Hugging Face tokenizer.json.

The vocabulary is the set of characters of the training text in code point order, so the same text
always gives the same ids. (Behind them a run that begins with another model has what that one knows
besides.)

The file form is a byte-level BPE, the one form of a character vocabulary that `tokenizers`,
onnxruntime-genai and transformers.js all read alike (plain BPE over characters loses the space and
the newline there, WordLevel fails): every character is spelled as its UTF-8 bytes in GPT-2's
printable byte alphabet, and merges join the bytes of one character, left to right. Behind the
characters' ids comes `<|endoftext|>`, for those other runtimes (see
`GPTConfig.exported_vocab_size`), and behind it the pieces that are not yet a character: a model has
no rows for these, so a normalizer takes characters that it has never seen out of a text, as
`encode` does (`tokenizers` heeds it, transformers.js by its source, onnxruntime-genai does not).
Reading it back needs no library: the pieces that spell a whole character are the vocabulary.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from minigpt.errors import InputError


def _byte_alphabet() -> list[str]:
    """GPT-2's printable stand-in for each of the 256 bytes.

    Bytes that print stand for themselves; the others, in order, are 256, 257, ... as code points.
    """
    printable = {
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), 256),
    }
    unprintable = [b for b in range(256) if b not in printable]
    return [chr(b) if b in printable else chr(256 + unprintable.index(b)) for b in range(256)]


END_OF_TEXT = "<|endoftext|>"
"""Other libraries read this text as the one token; here it is thirteen characters as any."""

_CLASS_SIGNS = "[]^-\\"
"""What means something else in a regular expression's class of characters. The backslash is last:
transformers.js takes one away that stands before #, & or ~."""
_MAX_RANGES = 9_990
"""Of characters: in one class Onigmo takes 10,000."""
_PART = 2**14  # characters: twice as fast as 2**16, whose arrays leave the cache
_ALPHABET = _byte_alphabet()
_BYTE_OF = {stand_in: byte for byte, stand_in in enumerate(_ALPHABET)}


@dataclass(frozen=True, slots=True)
class CharTokenizer:
    """One id per character.

    >>> tokenizer = CharTokenizer.from_text("hello")
    >>> tokenizer.chars, tokenizer.encode("hole"), tokenizer.decode([1, 0])
    ('ehlo', [1, 3, 2, 0], 'he')
    >>> tokenizer.encode("hi!"), tokenizer.unknown("hi!")
    ([1], 'i!')
    """

    chars: str
    """The vocabulary: the character at index i has id i."""

    def __post_init__(self) -> None:
        if not self.chars or len(set(self.chars)) != len(self.chars):
            raise InputError("a vocabulary needs at least one character, and each only once")

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The vocabulary of a text: its distinct characters, in code point order."""
        return cls("".join(sorted(set(text))))

    @property
    def vocab_size(self) -> int:
        """The number of ids."""
        return len(self.chars)

    @property
    def start(self) -> list[int]:
        """What a text without a prompt goes on from: a new line, as texts begin where one ends."""
        return self.encode("\n") or [0]

    def encode(self, text: str) -> list[int]:
        """The ids of the characters of `text`; those the model has never seen are skipped.

        Say so to whoever wrote the text: `unknown` names them.
        """
        return [i for i in map(self.chars.find, text) if i >= 0]

    def encode_array(self, text: str) -> npt.NDArray[np.uint32]:
        """`encode` for whole books, as an array (a million characters in some 5 ms)."""
        vocabulary = code_points(self.chars)
        id_of = np.full(int(vocabulary.max()) + 2, -1, np.int32)  # by code point; the last: beyond
        id_of[vocabulary] = np.arange(len(vocabulary))
        parts = []  # as on the way a character takes 21 bytes
        for at in range(0, max(1, len(text)), _PART):
            ids = id_of.take(code_points(text[at : at + _PART]), mode="clip")
            parts.append(ids[ids >= 0].astype(np.uint32))
        return np.concatenate(parts)

    def unknown(self, text: str) -> str:
        """The characters of `text` that have no id, each once, in order of appearance."""
        return "".join(dict.fromkeys(c for c in text if c not in self.chars))

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`.

        Raises:
            IndexError: an id is not below vocab_size.
        """
        return "".join(self.chars[i] for i in ids)

    def to_json(self) -> str:
        """The tokenizer.json; see the module's docstring for its form."""
        spelled = [[_ALPHABET[b] for b in char.encode()] for char in self.chars]
        vocab = {"".join(pieces): i for i, pieces in enumerate(spelled)}
        vocab[END_OF_TEXT] = end_of_text = self.vocab_size
        merges: dict[tuple[str, str], None] = {}  # ordered, each once
        for pieces in spelled:
            for piece in pieces:
                vocab.setdefault(piece, len(vocab))
            for end in range(1, len(pieces)):
                left = "".join(pieces[:end])
                vocab.setdefault(left, len(vocab))
                merges[left, pieces[end]] = None
        regex = self._unknown_regex()
        byte_level = {
            "type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False
        }  # fmt: skip
        form: dict[str, Any] = {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [
                {
                    "id": end_of_text,
                    "content": END_OF_TEXT,
                    "single_word": False,
                    "lstrip": False,
                    "rstrip": False,
                    "normalized": False,
                    "special": True,
                }
            ],
            "normalizer": regex and {"type": "Replace", "pattern": {"Regex": regex}, "content": ""},
            "pre_tokenizer": byte_level,
            "post_processor": None,
            "decoder": byte_level,
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": False,
                "byte_fallback": False,
                "ignore_merges": False,
                "vocab": vocab,
                "merges": [list(pair) for pair in merges],
            },
        }
        return json.dumps(form, ensure_ascii=False)

    def _unknown_regex(self) -> str | None:
        """What matches any character but these, to Onigmo and to JavaScript alike.

        None: there are so many kinds of characters that the first takes no such pattern.
        """
        ranges: list[list[str]] = []
        for char in sorted(set(self.chars) - set(_CLASS_SIGNS)):
            if ranges and ord(char) == ord(ranges[-1][-1]) + 1:
                ranges[-1][1:] = [char]
            else:
                ranges.append([char])
        signs = "".join(chr(92) + c for c in _CLASS_SIGNS if c in self.chars)
        inside = "".join(map("-".join, ranges)) + signs
        return f"[^{inside}]" if len(ranges) < _MAX_RANGES else None

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            InputError: not such a file, or the ids of its characters are not 0, 1, 2, ..., or that
                of `<|endoftext|>` does not follow (older checkpoints have no such token).
        """
        try:
            vocab: dict[str, Any] = json.loads(text)["model"]["vocab"]
            found = {char: i for piece, i in vocab.items() if (char := _spelled_char(piece))}
            end = vocab.get(END_OF_TEXT, len(found))
            # compared as a list: as keys, ids that are chosen to collide would take minutes
            if [*sorted(found.values()), end] != list(range(len(found) + 1)):
                raise ValueError
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise InputError("the tokenizer is not a character tokenizer.json of minigpt") from None
        return cls("".join(sorted(found, key=found.__getitem__)))


def code_points(text: str) -> npt.NDArray[np.uint32]:
    """The number of each character."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _spelled_char(piece: Sequence[str]) -> str | None:
    """The character that a piece spells in the byte alphabet, or None for a part of one."""
    if len(piece) > 4:  # bytes; no character has more
        return None
    try:
        char = bytes(_BYTE_OF[stand_in] for stand_in in piece).decode()
    except UnicodeDecodeError:
        return None
    return char if len(char) == 1 else None
