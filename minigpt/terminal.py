"""Talking to a terminal: what a model or a file says is data and may not command it."""

import argparse
import contextlib
import json
import sys
from collections.abc import Mapping
from typing import NoReturn

# C0 and C1 controls, DEL, and the marks that reorder a line; newline and tab stay.
_SHOWN = {
    **{c: chr(0x2400 + c) for c in range(0x20) if chr(c) not in "\n\t"},
    0x7F: "␡",
    **dict.fromkeys(range(0x80, 0xA0), "�"),
    **dict.fromkeys((0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)), "�"),
    **dict.fromkeys(range(0xD800, 0xE000), "�"),  # half a character: no terminal can encode it
}


def printable(text: str) -> str:
    r"""`text` with every control character but newline and tab replaced by a visible symbol.

    >>> printable("a\x1b[31mred")
    'a␛[31mred'
    """
    return text.translate(_SHOWN)


def one_line(text: str) -> str:
    r"""`printable`, with newlines made visible too: a name must not look like the next line.

    >>> one_line("a\nval_loss 0.1")
    'a␊val_loss 0.1'
    """
    return printable(text).replace("\n", "␊")


class Parser(argparse.ArgumentParser):
    """Quotes what it does not understand harmlessly: a name that a shell found may be hostile."""

    def error(self, message: str) -> NoReturn:
        super().error(one_line(message))


def say(sentence: str) -> None:
    """One line to the person, on stderr: stdout carries the product alone."""
    with contextlib.suppress(BrokenPipeError):  # nobody listens: no reason to stop
        sys.stderr.write(printable(sentence) + "\n")
        sys.stderr.flush()


def print_json(value: Mapping[str, object]) -> None:
    """A command's product as one JSON object on stdout."""
    # on a terminal only what is safe to show; JSON can say it all in ASCII
    sys.stdout.write(json.dumps(value, ensure_ascii=sys.stdout.isatty()) + "\n")
