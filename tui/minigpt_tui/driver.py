"""A terminal's keyboard, read without making Esc wait, and no key in what is pasted."""

import os
import select
from codecs import getincrementaldecoder

from textual._xterm_parser import BRACKETED_PASTE_END, BRACKETED_PASTE_START, XTermParser
from textual.constants import ESCAPE_DELAY
from textual.drivers.linux_driver import LinuxDriver

IDLE_S = 0.1
"""How often to see whether it is time to end."""
ESC = "\x1b"


class PasteGuard:
    """Makes a symbol of each Esc in a paste: Textual would read what follows it as keys."""

    def __init__(self) -> None:
        self._is_inside = False
        self._begun = ""
        """What may be the beginning of the marker that is waited for."""

    def read(self, text: str) -> str:
        """What of it is for the parser, by now: the end of a paste is held back until it is whole.

        Its beginning is not, because it could be a lone Esc.
        """
        return "".join([self._next(char) for char in text])

    def _next(self, char: str) -> str:
        was_inside, before = self._is_inside, self._begun
        marker = BRACKETED_PASTE_END if was_inside else BRACKETED_PASTE_START
        known = before + char
        # only the first character of a marker is Esc
        self._begun = known if marker.startswith(known) else char if char == ESC else ""
        if is_whole := self._begun == marker:
            self._is_inside, self._begun = not was_inside, ""
        if not was_inside:
            return char
        if is_whole:
            return marker
        return known.removesuffix(self._begun).replace(ESC, "␛")


class QuickDriver(LinuxDriver):
    """Believes in a lone Esc as soon as no more of an escape sequence can be hoped for.

    Textual's looks for that every 100 ms only, and whoever presses Esc has to wait for it.
    """

    def run_input_thread(self) -> None:
        parser, guard = XTermParser(), PasteGuard()
        decode = getincrementaldecoder("utf-8")().decode
        wait_s = IDLE_S
        while not self.exit_event.is_set():
            is_ready = bool(select.select([self.fileno], [], [], wait_s)[0])
            if is_ready:
                if not (keys := os.read(self.fileno, 4096)):
                    break  # the terminal is gone
                # nothing, to the parser, would be the end
                for event in parser.feed(text) if (text := guard.read(decode(keys))) else ():
                    self.process_message(event)
            for event in parser.tick():
                self.process_message(event)
            wait_s = ESCAPE_DELAY if is_ready else IDLE_S
