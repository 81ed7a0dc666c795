"""Keeps the document that is being written in the database of sessions. No Textual here."""

from pathlib import Path

from minigpt.errors import InputError
from minigpt_tui.document import Document
from minigpt_tui.sessions import Sessions

SAVE_S = 1 / 2
"""Often, so that a kill loses half a second."""


class Keeper:
    """Which session is open, and saving it.

    Without a path nothing is stored. A database that cannot be used stops nobody from writing:
    `hear` says why nothing is kept.
    """

    def __init__(self, path: Path | None, name: str = "") -> None:
        """Open the database.

        Args:
            path: of the database.
            name: what to call the first session.
        """
        self._first_name = name
        self._trouble: list[str] = []
        self.sessions: Sessions | None = None
        self.id = 0
        if path is not None:
            try:
                self.sessions = Sessions(path)
                self.id = self.sessions.create()
            except InputError as error:
                self._trouble.append(f"{error}; nothing is stored meanwhile")

    def save(self, document: Document) -> None:
        """Store what is new since the last time."""
        if self.sessions is not None:
            self.id = self.sessions.save(self.id, document)
            if self._first_name and len(document.nodes) and not self.sessions.is_behind:
                self.sessions.rename(self.id, self._first_name)
                if self.name:  # else it is not stored yet
                    self._first_name = ""

    @property
    def name(self) -> str:
        """What the user calls the session that is open; empty: nothing, or it is not stored."""
        return self.sessions.name(self.id) if self.sessions else ""

    def begin(self) -> Document:
        """An empty document in a session of its own."""
        if self.sessions is not None:
            self.id = self.sessions.create()
        return Document()

    def open(self, id: int) -> Document:
        """A stored document, to go on with.

        Raises:
            InputError: there is none, or it is damaged.
        """
        assert self.sessions is not None
        document = self.sessions.load(id)
        self.id = id
        return document

    def hear(self) -> list[str]:
        """What the user should know by now, a sentence each."""
        trouble, self._trouble = self._trouble, []
        return trouble + (self.sessions.hear() if self.sessions else [])

    def close(self, document: Document) -> list[str]:
        """Store the last, and be done; returns what the user should know."""
        if self.sessions is None:
            return self.hear()
        self.save(document)
        said = self.hear()
        if self.sessions.is_behind and not said:  # it was said long ago, and is for good now
            said = [f"What was written last is not in {self.sessions.path}: it could not be saved."]
        self.sessions.close()
        return said
