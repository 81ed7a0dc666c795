"""A terminal's keyboard, read without making Esc wait."""

import os
import select
from codecs import getincrementaldecoder

from textual._xterm_parser import XTermParser
from textual.constants import ESCAPE_DELAY
from textual.drivers.linux_driver import LinuxDriver

IDLE_S = 0.1
"""How often to see whether it is time to end."""


class QuickDriver(LinuxDriver):
    """Believes in a lone Esc as soon as no more of an escape sequence can be hoped for.

    Textual's looks for that every 100 ms only, and whoever presses Esc has to wait for it.
    """

    def run_input_thread(self) -> None:
        parser = XTermParser()
        decode = getincrementaldecoder("utf-8")().decode
        wait_s = IDLE_S
        while not self.exit_event.is_set():
            is_ready = bool(select.select([self.fileno], [], [], wait_s)[0])
            if is_ready:
                if not (keys := os.read(self.fileno, 4096)):
                    break  # the terminal is gone
                for event in parser.feed(decode(keys)):
                    self.process_message(event)
            for event in parser.tick():
                self.process_message(event)
            wait_s = ESCAPE_DELAY if is_ready else IDLE_S
