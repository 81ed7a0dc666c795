"""Talking to a terminal: what a model or a file says is data and may not command it."""

import argparse
import codecs
import contextlib
import errno
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn

_IS_WINDOWS = os.name == "nt"

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


def shell_word(path: str | Path) -> str:
    """A path as one word of a command that can be pasted: my run is 'my run', or "my run".

    One that would be read as a flag gets its folder.
    """
    word = f"./{path}" if str(path).startswith("-") else str(path)
    if _IS_WINDOWS:  # where single quotes are letters
        from subprocess import list2cmdline

        return list2cmdline([word])
    import shlex

    return shlex.quote(word)


def set_up_streams() -> None:
    """Let nothing fail that is written: a terminal that cannot show a character shows "?".

    Pipes and files are in UTF-8; on Windows they would be in a code page of the last century.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started us: the next file would be it
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
    encoded = "utf-8" if _IS_WINDOWS and "PYTHONIOENCODING" not in os.environ else None
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if not hasattr(stream, "reconfigure"):
            continue
        if encoded and not stream.isatty():
            stream.reconfigure(encoding=encoded)
        if stream is not sys.stdin:
            stream.reconfigure(errors="replace")
    if encoded and hasattr(sys.stdout, "reconfigure"):  # what was written is what is read again
        sys.stdout.reconfigure(newline="\n")


@contextlib.contextmanager
def while_read() -> Iterator[None]:
    """Write for as long as somebody reads.

    Raises:
        BrokenPipeError: nobody reads any more, which Windows calls an invalid argument
            (python/cpython#79935).
    """
    try:
        yield
    except OSError as error:
        if _IS_WINDOWS and error.errno == errno.EINVAL and not _can_write():
            raise BrokenPipeError(errno.EPIPE, "nobody reads any more") from None
        raise


def _can_write() -> bool:
    """Whether what waits to be written to stdout or stderr can be."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        return False
    return True


class Parser(argparse.ArgumentParser):
    """Tells a mistake in one sentence, without the usage, which would hide it.

    What it does not understand it quotes harmlessly: a name that a shell found may be hostile.
    """

    def error(self, message: str) -> NoReturn:
        if message.endswith("expected one argument"):
            message += "; one that begins with a dash is written --option=-value"
        self.exit(2, f"{self.prog}: {one_line(message)}; {self.prog} --help tells more\n")


def say(sentence: str) -> None:
    """One line to the person, on stderr: stdout carries the product alone."""
    murmur(sentence + "\n")


def murmur(text: str) -> None:
    """Less or more than a line to the person, at once."""
    with contextlib.suppress(OSError):  # nobody listens, or the disk is full: no reason to stop
        sys.stderr.write(printable(text))
        sys.stderr.flush()


def write(text: str) -> None:
    """A piece of a command's product on stdout, at once; on a terminal only what is safe."""
    sys.stdout.write(printable(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def print_json(value: Mapping[str, object]) -> None:
    """A command's product as one JSON object on stdout."""
    # on a terminal only what is safe to show, elsewhere what can be; JSON can say it all in ASCII
    encoding = codecs.lookup(sys.stdout.encoding or "utf-8").name
    in_ascii = sys.stdout.isatty() or encoding != "utf-8"
    text = json.dumps(_in_json(value), ensure_ascii=in_ascii, allow_nan=False)
    sys.stdout.write(text + "\n")


def _in_json(value: object) -> object:
    """The value with None for each number that JSON does not have: infinity, NaN."""
    if isinstance(value, Mapping):
        return {key: _in_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_in_json(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
