"""What a terminal sends, on its way to Textual's parser."""

import os

import pytest
from textual import events
from textual._xterm_parser import XTermParser

if os.name == "nt":
    pytest.skip("the driver is for Unix", allow_module_level=True)
from minigpt_tui.driver import PasteGuard

START, END = "\x1b[200~", "\x1b[201~"
PASTED, AS_READ = "a \x1b[0m\r/quit\r\x1b\x1b[201\x1b[200~", "a ␛[0m\r/quit\r␛␛[201␛[200~"
SENT = "\x1b[A" + START + PASTED + END + "b" + START + END + "\x1b"


def test_only_in_a_paste_an_esc_becomes_a_symbol_wherever_it_is_cut() -> None:
    for first in range(len(SENT) + 1):
        for second in range(first, len(SENT) + 1):
            guard = PasteGuard()
            parts = (SENT[:first], SENT[first:second], SENT[second:])
            assert "".join(guard.read(part) for part in parts) == SENT.replace(PASTED, AS_READ)


def test_what_is_typed_is_not_held_back() -> None:
    guard = PasteGuard()
    assert [guard.read(char) for char in "\x1b[200"] == list("\x1b[200")


def test_textual_finds_no_keys_in_a_paste() -> None:
    (found,) = XTermParser().feed(PasteGuard().read(START + PASTED + END))
    assert isinstance(found, events.Paste)
    assert found.text == AS_READ
