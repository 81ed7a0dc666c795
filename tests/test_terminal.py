import errno
import io
import json
import math
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt import terminal
from minigpt.terminal import (
    one_line,
    print_json,
    printable,
    set_up_streams,
    shell_word,
    while_read,
)


@given(st.text())
def test_no_control_character_is_left(text: str) -> None:
    shown = printable(text)
    assert all(c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs") for c in shown)
    assert len(shown) == len(text)


def test_escape_sequences_are_shown() -> None:
    assert printable("a\x1b[31m\x9b2J\x7f") == "a␛[31m�2J␡"


def test_a_line_stays_one() -> None:
    assert one_line("name\r\nval_loss 0.1\tx") == "name␍␊val_loss 0.1\tx"


def test_ordinary_text_is_untouched() -> None:
    text = "Wherefore\n\tart thou, Röméo? 你好 🎭"
    assert printable(text) == text


def test_numbers_that_json_does_not_have_are_null(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"loss": math.inf, "in": {"a": [1.5, -math.inf, (math.nan, 2)]}, "n": 3})
    found = json.loads(capsys.readouterr().out)
    assert found == {"loss": None, "in": {"a": [1.5, None, [None, 2]]}, "n": 3}


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8", "cp1252"])
def test_json_loses_no_character(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding, errors="replace"))
    print_json({"text": "床é"})
    sys.stdout.flush()
    assert json.loads(out.getvalue()) == {"text": "床é"}


@pytest.mark.parametrize(("is_windows", "word"), [(False, "'a b\\c'"), (True, '"a b\\c"')])
def test_a_path_in_a_command_can_be_pasted(
    monkeypatch: pytest.MonkeyPatch, is_windows: bool, word: str
) -> None:
    monkeypatch.setattr(terminal, "_IS_WINDOWS", is_windows)
    assert shell_word("book.txt") == "book.txt"
    assert shell_word("a b\\c") == word
    assert shell_word(Path("-d.onnx")) == "./-d.onnx"


@pytest.mark.parametrize("encoding", ["", "cp1252"])
def test_pipes_are_utf_8_on_windows_unless_it_is_said_otherwise(
    monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setattr(terminal, "_IS_WINDOWS", True)
    monkeypatch.delenv("PYTHONIOENCODING", raising=False)
    if encoding:
        monkeypatch.setenv("PYTHONIOENCODING", encoding)
    written = io.BytesIO()
    said = "\u0416\u00e9\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(said.encode()), "cp1252"))
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "cp1252", newline="\r\n"))
    set_up_streams()
    read = sys.stdin.read()
    sys.stdout.write(said)
    sys.stdout.flush()
    if encoding:
        assert (read, written.getvalue()) == ("\u00d0\u2013\u00c3\u00a9\n", b"?\xe9\r\n")
    else:
        assert (read, written.getvalue()) == (said, said.encode())


@pytest.mark.parametrize(
    ("error", "has_left", "is_windows", "kind"),
    [
        (OSError(errno.EINVAL, "Invalid argument"), True, True, BrokenPipeError),
        (OSError(errno.EINVAL, "Invalid argument"), False, True, OSError),
        (OSError(errno.ENOSPC, "No space left on device"), True, True, OSError),
        (OSError(errno.EINVAL, "Invalid argument"), True, False, OSError),
    ],
)
def test_a_reader_that_left_is_known_on_windows_too(
    monkeypatch: pytest.MonkeyPatch,
    error: OSError,
    has_left: bool,
    is_windows: bool,
    kind: type[OSError],
) -> None:
    class Left(io.StringIO):
        """A pipe whose reader has left: what waits to be written never can be."""

        def flush(self) -> None:
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(terminal, "_IS_WINDOWS", is_windows)
    monkeypatch.setattr(sys, "stdout", Left() if has_left else io.StringIO())
    with pytest.raises(OSError, match=r"Invalid|nobody|No space") as raised, while_read():
        raise error
    assert raised.type is kind
