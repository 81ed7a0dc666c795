"""What was sent from the prompt, or left there, also by earlier starts. No Textual here."""

import json
from copy import copy
from itertools import accumulate
from pathlib import Path

from minigpt.errors import InputError
from minigpt.files import read_bytes, write_atomically
from minigpt.terminal import printable

VERSION = 1
MAX_PROMPTS = 500
ASIDE = ".damaged"
MAX_CHARS = 1_000_000
"""Of them all, so that the file is soon written."""
MAX_BYTES = 2**24
"""More than so many characters take in JSON, of which one has at most 12 bytes."""


def prompts_beside(sessions: Path) -> Path:
    """The file of prompts that goes with a database of sessions."""
    return sessions.with_name("prompts.json")


class History:
    """The newest prompts, oldest first, and a place among them for Up and Down.

    Without a path nothing is stored. A file that cannot be used is said once, by `hear`; a damaged
    one is kept aside when the next is written.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._trouble: list[str] = []
        self._told: list[str] = []
        self._is_damaged = False
        self._unsaved: list[str] = []
        self._prompts = self._read() or []
        self._at: int | None = None
        """Which of the prompts Up has come to; None: the draft behind them."""
        self._edited: dict[int | None, str] = {}
        """The draft, and what became of the prompts that Up and Down left since one was sent."""

    def __bool__(self) -> bool:
        return bool(self._prompts)

    def beside(self) -> "History":
        """The same prompts for a second place to write in, with an Up and Down of its own."""
        other = copy(self)
        other._at, other._edited = None, {}
        return other

    def add(self, text: str) -> None:
        """Remember what was sent, and go to the end."""
        if text and text not in self._prompts[-1:]:
            self._prompts.append(text)
            self._unsaved.append(text)
        self._at, self._edited = None, {}

    def move(self, step: int, text: str) -> str | None:
        """The prompt before (-1) or after (1), as it was left; None: there is none.

        Args:
            step: which way.
            text: what stands in the prompt now; it comes back until something is sent.
        """
        end = len(self._prompts)
        at = (end if self._at is None else self._at) + step
        if not 0 <= at <= end:
            return None
        self._edited[self._at] = text
        self._at = at if at < end else None
        left = self._edited.get(self._at)
        return self._prompts[at] if left is None else left

    def save(self) -> None:
        """Store what is new, behind what another window of the app has stored meanwhile."""
        if self._path is None or not self._unsaved:
            return
        if (stored := self._read()) is None:
            return
        prompts = _newest([*stored, *self._unsaved])
        self._unsaved.clear()  # it may be shared, see `beside`
        content = json.dumps({"version": VERSION, "prompts": prompts}).encode()
        aside = self._path.with_name(self._path.name + ASIDE) if self._is_damaged else None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(self._path, content, keep_old_as=aside)
        except (InputError, OSError) as error:
            self._trouble.append(f"{_reason(error)}; what you send is remembered until you quit")
            self._path = None

    def hear(self) -> list[str]:
        """What the user should know by now, a sentence each, and each once."""
        news = [sentence for sentence in self._trouble if sentence not in self._told]
        self._told += news
        self._trouble = []
        return news

    def _read(self) -> list[str] | None:
        """What is stored; None: nothing is, or can be."""
        self._is_damaged = False
        if self._path is None:
            return None
        try:
            if not self._path.exists():
                return []
            return _prompts(json.loads(read_bytes(self._path, "a file of prompts", MAX_BYTES)))
        except (InputError, OSError) as error:
            self._trouble.append(f"earlier prompts are not at hand: {_reason(error)}")
            self._path = None
            return None
        except (ValueError, RecursionError):
            self._is_damaged = True
            self._trouble.append(
                f"{self._path} is damaged: earlier prompts are not at hand. With the next that you "
                f"send, it is renamed to {self._path.name}{ASIDE}"
            )
        return []


def _reason(error: InputError | OSError) -> str:
    if isinstance(error, InputError):
        return str(error)
    return f"cannot use {error.filename}: {error.strerror}"


def _prompts(stored: object) -> list[str]:
    match stored:
        case {"version": 1, "prompts": list(prompts)} if all(type(p) is str for p in prompts):
            return [printable(prompt) for prompt in _newest(prompts)]
        case {"version": int(version)} if version > VERSION:
            raise InputError("they are stored by a newer minigpt; update this one")
    raise ValueError


def _newest(prompts: list[str]) -> list[str]:
    """As many as are kept, from the end."""
    totals = accumulate(len(prompt) for prompt in reversed(prompts[-MAX_PROMPTS:]))
    n = sum(total <= MAX_CHARS for total in totals)
    return prompts[len(prompts) - n :]
