"""Every document, stored as it is written: nothing has to be saved by hand."""

import json
import os
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from minigpt.errors import InputError
from minigpt.terminal import one_line, printable
from minigpt_tui.database import Database
from minigpt_tui.document import Document
from minigpt_tui.finding import has, query, snippet, words_in
from minigpt_tui.packing import pack, run_from_json, run_to_json, unpack

_KEEP_DELETED_S = 30 * 24 * 3600.0
_PREVIEW = 80
_CONTEXT = 20
"""Characters before a fork that are searched together with the branch."""
_BEGINNING = 20
"""Characters of a text that stand for its name in that of a copy."""
MOST_FOUND = 50
"""Each takes up to 1 ms, and the search begins anew with every letter."""
COPY = " (copy)"
"""The end of its name."""
BESIDE = ("A, beside B", "B, beside A")
"""How the two texts of A/B are called, and all such texts: only their beginnings differ."""


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What a list shows of a session."""

    id: int
    name: str
    """As given by the user, or empty."""
    created: float
    """Seconds since 1970, as `updated`."""
    updated: float
    n_chars: int
    model: str
    """Of the newest run."""
    preview: str
    """How its text begins, or where all of it was undone its newest branch; safe to show, on one
    line."""


def called(name: str, preview: str) -> str:
    """What to call a text on one line: its name, or how it begins, or where need be both.

    >>> [called("Balcony", "But soft!"), called("", "ROMEO:␊But soft!"), called("", "")]
    ['Balcony', 'ROMEO: But soft!', '(no text)']
    >>> called("A, beside B", "ROMEO:␊But soft!")
    'A, beside B: ROMEO: But soft!'
    """
    beginning = one_line(preview).replace("␊", " ").strip() or "(no text)"
    if name in BESIDE:
        return f"{name}: {beginning}"
    return one_line(name).replace("␊", " ") or beginning


def _copied(name: str, preview: str) -> str:
    """What to call a copy of a text.

    >>> _copied("Balcony", "But soft!")
    'Balcony (copy)'
    >>> _copied("", "ROMEO:␊But soft! What light through yonder window breaks?")
    'ROMEO: But soft! Wha… (copy)'
    """
    if not name or name in BESIDE:
        name = called("", preview)
        if len(name) > _BEGINNING:
            name = f"{name[:_BEGINNING].rstrip()}…"
    return f"{name}{COPY}"


_INFO = "id, name, created, updated, n_chars, model, preview"


@dataclass(frozen=True, slots=True)
class Found:
    """A session in whose text, or name, the words stand."""

    info: SessionInfo
    snippet: tuple[tuple[str, bool], ...]
    """A piece of its text, safe to show, on one line: (characters, whether they are a hit)."""


@dataclass(frozen=True, slots=True)
class _Saved:
    """What the database holds of a document, as far as this process knows."""

    n_nodes: int = 0
    n_runs: int = 0
    rest: tuple[object, ...] = ()


class Sessions:
    """The stored documents. For one thread; several processes may share a database.

    Trouble with the disk stops nobody from writing: `hear` tells of it, once.

    Raises:
        InputError: the database was written by a newer minigpt.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._db = Database(path, clock)
        self._clock = clock
        self._saved: dict[tuple[int, int], _Saved] = {}
        """By the number of the database and the id of the session."""
        self._deleted: set[int] = set()
        """By this process: what it still has open is not to come back with the next save."""
        oldest = clock() - _KEEP_DELETED_S
        self._db.write(lambda db: db.execute("DELETE FROM sessions WHERE deleted < ?", (oldest,)))

    @property
    def path(self) -> Path:
        """The database."""
        return self._db.path

    @property
    def is_behind(self) -> bool:
        """Whether the disk did not take what was saved last."""
        return self._db.fails

    def hear(self) -> list[str]:
        """What the user should know by now, a sentence each."""
        return self._db.hear()

    def close(self) -> None:
        """Be done with the database."""
        self._db.close()

    # One document

    def create(self) -> int:
        """The id of a new session; nothing is stored before it has a text."""
        return int.from_bytes(os.urandom(6), "big")

    def save(self, id: int, document: Document) -> int:
        """Store what has changed since the last time.

        Returns:
            The id under which it is stored: another one where somebody else goes on with the same
            session, or has deleted it, so that both are kept.
        """
        if not len(document.nodes):
            return id
        rest = _rest(document)
        known = self._saved.get((self._db.number, id), _Saved())
        if known.n_nodes == len(document.nodes) and known.rest == rest:
            return id
        stored = self._db.write(lambda db: self._store(db, id, document, rest))
        if stored is None:
            return id
        self._remember(stored, document)
        return stored

    def _store(
        self, db: sqlite3.Connection, id: int, document: Document, rest: tuple[object, ...]
    ) -> int:
        now = self._clock()
        known = self._saved.get((self._db.number, id), _Saved())
        columns = "n_nodes, name, deleted IS NOT NULL"
        row = db.execute(f"SELECT {columns} FROM sessions WHERE id = ?", (id,)).fetchone()
        n_stored, name, is_deleted = row or (0, "", False)
        if n_stored != known.n_nodes or (is_deleted and id not in self._deleted):
            id, known, row, name = self.create(), _Saved(), None, _copied(name, str(rest[2]))
        if row is None:
            db.execute(
                "INSERT INTO sessions (id, name, created, updated) VALUES (?, ?, ?, ?)",
                (id, name, now, now),
            )
        if known.n_nodes < len(document.nodes):
            packed = pack(document.nodes, known.n_nodes)
            db.execute("INSERT INTO parts VALUES (?, ?, ?)", (id, known.n_nodes, packed))
        for run in document.runs[max(known.n_runs - 1, 0) :]:  # the last one known may have grown
            db.execute(
                "INSERT OR REPLACE INTO runs VALUES (?, ?, ?)", (id, run.number, run_to_json(run))
            )
        *values, _ = rest
        db.execute(
            "UPDATE sessions SET updated = ?, n_nodes = ?, n_chars = ?, model = ?, preview = ?, "
            "head = ?, undo = ?, redo = ?, names = ? WHERE id = ?",
            (now, len(document.nodes), *values, id),
        )
        return id

    def _remember(self, id: int, document: Document) -> None:
        self._saved[self._db.number, id] = _Saved(
            len(document.nodes), len(document.runs), _rest(document)
        )

    def load(self, id: int) -> Document:
        """A session's document, exactly as it was saved.

        Raises:
            InputError: there is none, or it is damaged.
        """
        document = self.peek(id)
        self._remember(id, document)
        return document

    def peek(self, id: int) -> Document:
        """A session's document to look at, and not to go on with; errors are those of `load`."""
        rows = self._db.read(
            "SELECT n_nodes, head, undo, redo, names FROM sessions WHERE id = ?", id
        )
        if not rows:
            raise InputError("this session is no longer stored; choose another one")
        n_nodes, head, *lists = rows[0]
        parts = self._db.read("SELECT nodes FROM parts WHERE session = ? ORDER BY start", id)
        records = self._db.read("SELECT record FROM runs WHERE session = ? ORDER BY number", id)
        document = Document()
        try:
            for (packed,) in parts:
                unpack(document.nodes, packed)
            if len(document.nodes) != n_nodes or not -1 <= head < n_nodes:
                raise ValueError(f"{len(document.nodes)} of {n_nodes} characters")
            document.runs = [run_from_json(record) for (record,) in records]
            document.undone_to, document.redone_to, names = map(json.loads, lists)
            document.names = dict(names)
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"this session is damaged ({error}); choose another one") from None
        document.checkout(head)
        return document

    # All of them

    def list(self, limit: int = 100) -> tuple[SessionInfo, ...]:
        """The sessions, the newest first."""
        rows = self._db.read(
            f"SELECT {_INFO} FROM sessions WHERE deleted IS NULL "
            "ORDER BY updated DESC, created DESC LIMIT ?",
            limit,
        )
        return tuple(SessionInfo(*row) for row in rows)

    def search(self, words: str, limit: int = MOST_FOUND) -> tuple[Found, ...]:
        """The sessions in which all `words`, or longer ones that begin so, stand; the best first.

        Before them come those in whose names, as given by the user, they stand.

        A text is indexed when it is looked for, and not as it grows: that would write all of it to
        the disk again with every save.
        """
        if not (wanted := words_in(words)):
            return ()
        self.index()
        named = self._db.read(
            f"SELECT {_INFO}, preview FROM sessions WHERE name NOT IN ('', ?, ?) "
            "AND deleted IS NULL ORDER BY updated DESC",
            *BESIDE,
        )
        rows = [row for row in named if has(SessionInfo(*row[:-1]).name, wanted)]
        rows += self._db.read(
            f"SELECT {_INFO}, text FROM texts JOIN sessions ON sessions.id = texts.rowid "
            "WHERE texts MATCH ? AND deleted IS NULL ORDER BY rank LIMIT ?",
            query(wanted),
            limit,
        )
        found = {
            id: Found(SessionInfo(id, *info), snippet(text, wanted)) for id, *info, text in rows
        }
        return tuple(found.values())[:limit]

    def index(self) -> None:
        """Make what was saved since the last time findable.

        `search` does it: 2 ms a session, 200 ms where 200,000 characters are new.
        """
        stale = self._db.read(
            "SELECT id FROM sessions WHERE n_indexed < n_nodes AND deleted IS NULL"
        )
        for (id,) in stale:
            try:
                document = self.peek(id)
            except InputError:
                continue  # whoever opens it is told
            self._db.write(partial(_index, id=id, document=document))

    def name(self, id: int) -> str:
        """What a session is called; empty: nothing, or it is not stored."""
        rows = self._db.read("SELECT name FROM sessions WHERE id = ?", id)
        return str(rows[0][0]) if rows else ""

    def rename(self, id: int, name: str) -> None:
        """Call a stored session something, or with an empty name nothing."""
        self._change(id, "name", one_line(name))

    def delete(self, id: int) -> None:
        """Let a session be gone; for thirty days `restore` brings it back."""
        self._deleted.add(id)
        self._change(id, "deleted", self._clock())

    def restore(self, id: int) -> None:
        """Undo `delete`."""
        self._deleted.discard(id)
        self._change(id, "deleted", None)

    def bring_back(self) -> SessionInfo | None:
        """Undo the last `delete`, whenever and in whichever window it was; None: there is none."""
        rows = self._db.read(
            f"SELECT {_INFO} FROM sessions WHERE deleted IS NOT NULL ORDER BY deleted DESC LIMIT 1"
        )
        if not rows:
            return None
        info = SessionInfo(*rows[0])
        self.restore(info.id)
        return info

    def _change(self, id: int, column: str, value: object) -> None:
        self._db.write(
            lambda db: db.execute(f"UPDATE sessions SET {column} = ? WHERE id = ?", (value, id))
        )

    def duplicate(self, id: int) -> int:
        """Store a session once more.

        Returns:
            The id of the new one.

        Raises:
            InputError: there is none, or the disk does not take it.
        """
        copy, now = self.create(), self._clock()
        if not self._db.write(lambda db: _duplicate(db, id, copy, now)):
            raise InputError("this session cannot be duplicated: it is not stored, or no more is")
        return copy


def _rest(document: Document) -> tuple[object, ...]:
    """What is stored besides the characters, the newest run last."""
    last = document.runs[-1] if document.runs else None
    return (
        len(document),
        one_line(last.model_name) if last else "",
        one_line(_preview(document)),
        document.head,
        json.dumps(document.undone_to),
        json.dumps(document.redone_to),
        json.dumps(list(document.names.items())),
        run_to_json(last) if last else "",
    )


def _preview(document: Document) -> str:
    """How the text begins; where all of it was undone, the newest branch."""
    if document.text:
        return document.text[:_PREVIEW]
    newest = max(document.nodes.branches(), default=None)
    return "" if newest is None else document.text_of(document.nodes.leaf(newest))[:_PREVIEW]


def _duplicate(db: sqlite3.Connection, id: int, copy: int, now: float) -> bool:
    found = db.execute("SELECT name, preview FROM sessions WHERE id = ?", (id,)).fetchone()
    if found is None:
        return False
    db.execute(
        "INSERT INTO sessions SELECT ?, ?, ?, ?, NULL, n_nodes, 0, "
        "n_chars, model, preview, head, undo, redo, names FROM sessions WHERE id = ?",
        (copy, _copied(*found), now, now, id),
    )
    db.execute("INSERT INTO parts SELECT ?, start, nodes FROM parts WHERE session = ?", (copy, id))
    db.execute("INSERT INTO runs SELECT ?, number, record FROM runs WHERE session = ?", (copy, id))
    return True


def _index(db: sqlite3.Connection, id: int, document: Document) -> None:
    """Make all that was ever written findable: each branch from a few words before its fork on."""
    text = "\n…\n".join(
        document.nodes.tail(branch.leaf, branch.length - branch.fork + _CONTEXT)
        for branch in document.leaves()
    )
    db.execute("DELETE FROM texts WHERE rowid = ?", (id,))
    db.execute("INSERT INTO texts (rowid, text) VALUES (?, ?)", (id, printable(text)))
    db.execute("UPDATE sessions SET n_indexed = ? WHERE id = ?", (len(document.nodes), id))
