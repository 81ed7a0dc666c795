"""The SQLite file that keeps sessions: where it is, its tables, and trouble with the disk."""

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from minigpt.errors import InputError

_T = TypeVar("_T")

_Identity = tuple[int, int]
"""Of a file, whatever it is called: device and number there."""
_NO_FILE: _Identity = (0, 0)

_BUSY_S = 2.0
"""How long to wait for another process, whose transactions take milliseconds."""
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

# Each entry makes one version out of the one before, by a list of statements.
_VERSIONS = (
    (
        """CREATE TABLE sessions (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL,
            created REAL NOT NULL,
            updated REAL NOT NULL,
            deleted REAL,
            n_nodes INTEGER NOT NULL DEFAULT 0,
            n_indexed INTEGER NOT NULL DEFAULT 0,
            n_chars INTEGER NOT NULL DEFAULT 0,
            model TEXT NOT NULL DEFAULT '',
            preview TEXT NOT NULL DEFAULT '',
            head INTEGER NOT NULL DEFAULT -1,
            undo TEXT NOT NULL DEFAULT '[]',
            redo TEXT NOT NULL DEFAULT '[]',
            names TEXT NOT NULL DEFAULT '[]')""",
        """CREATE TABLE parts (
            session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
            start INTEGER NOT NULL,
            nodes BLOB NOT NULL,
            PRIMARY KEY (session, start))""",
        """CREATE TABLE runs (
            session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
            number INTEGER NOT NULL,
            record TEXT NOT NULL,
            PRIMARY KEY (session, number))""",
        "CREATE VIRTUAL TABLE texts USING fts5(text)",
        """CREATE TRIGGER forget AFTER DELETE ON sessions BEGIN
            DELETE FROM texts WHERE rowid = old.id;
        END""",
    ),
)


def default_path() -> Path:
    """The database of this user: in the folder MINIGPT_HOME, or where this system keeps data."""
    if folder := os.environ.get("MINIGPT_HOME"):
        return Path(folder) / "sessions.db"
    import platformdirs

    return platformdirs.user_data_path("minigpt", appauthor=False) / "sessions.db"


class Database:
    """A connection that goes on where files fail, and says so.

    One that cannot be written is read into memory, and kept there; a damaged one is renamed and a
    new one begun. For one thread; several processes may use a file at once.

    Raises:
        InputError: the file was written by a newer minigpt.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self.clock = clock
        self.number = 0
        """Grows when a new database takes the place of a damaged one."""
        self._told: list[str] = []
        self.fails = False
        """Whether what was to be written last could not be."""
        self._db, self._identity = self._open()

    def hear(self) -> list[str]:
        """What the user should know by now, a sentence each, and each once."""
        told, self._told = self._told, []
        return told

    def close(self) -> None:
        """Be done with the file."""
        self._db.close()

    def read(self, sql: str, *values: object) -> Any:
        """The rows of a SELECT; none where they cannot be read."""
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.DatabaseError as error:
            self._handle(error)
            return []

    def write(self, work: Callable[[sqlite3.Connection], _T]) -> _T | None:
        """Do some work in a transaction, again if the database turns out to be damaged.

        Returns:
            What `work` returns, or None where it could not be stored.
        """
        number = self.number
        done = self._write(work)
        return self._write(work) if self.number != number else done

    def _write(self, work: Callable[[sqlite3.Connection], _T]) -> _T | None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            done = work(self._db)
            self._db.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            self._roll_back()
            self._handle(error)
            return None
        except BaseException:
            self._roll_back()
            raise
        if self.fails:
            self.fails = False
            self._told.append("Sessions are saved again.")
        return done

    def _roll_back(self) -> None:
        if self._db.in_transaction:  # a full disk has ended it already
            with contextlib.suppress(sqlite3.DatabaseError):
                self._db.execute("ROLLBACK")

    def _handle(self, error: sqlite3.DatabaseError) -> None:
        if _is_damage(error):
            self._db.close()
            self.fails = False
            self.number += 1
            self._db, self._identity = self._open(damaged=self._identity)
        elif not self.fails:
            self.fails = True
            self._told.append(
                f"Cannot save to {self.path} ({error}); write on, it is tried again and again."
            )

    def _open(self, *, damaged: _Identity | None = None) -> tuple[sqlite3.Connection, _Identity]:
        is_damaged = damaged is not None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if damaged is not None:
                self._set_aside(damaged)
            before = _identity(self.path)
            try:
                return _connect(self.path), _identity(self.path)
            except sqlite3.DatabaseError as error:
                if not _is_damage(error):
                    raise
                is_damaged = True
            self._set_aside(before)
            return _connect(self.path), _identity(self.path)
        except sqlite3.DatabaseError as error:
            reason = str(error)
        except OSError as error:
            reason = error.strerror or str(error)
        trouble = "is damaged, and cannot be set aside" if is_damaged else "cannot be written"
        self._told.append(
            f"{self.path} {trouble} ({reason}); sessions are kept until you quit, not longer."
        )
        return _in_memory(self.path, is_damaged=is_damaged), _identity(self.path)

    def _set_aside(self, damaged: _Identity) -> None:
        if _identity(self.path) != damaged:
            self._told.append(f"{self.path} was damaged; another window has begun a new one.")
            return
        date = time.strftime("%Y-%m-%d-%H%M%S", time.localtime(self.clock()))
        name = f"{self.path.name}.damaged-{date}"
        for end in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                self.path.with_name(self.path.name + end).rename(self.path.with_name(name + end))
        self._told.append(f"{self.path} was damaged; it is kept as {name}, and a new one is begun.")


def _identity(path: Path) -> _Identity:
    """Of the file that has this name now: another one may take the name."""
    try:
        found = path.stat()
    except OSError:
        return _NO_FILE
    return found.st_dev, found.st_ino


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _DAMAGED


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
    try:
        return _prepare(db, path)
    except BaseException:
        db.close()
        raise


def _prepare(db: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    """Bring a database to the newest version."""
    if (version := _version(db)) > len(_VERSIONS):
        raise InputError(
            f"{path} is of a newer minigpt (format {version}, the newest known is "
            f"{len(_VERSIONS)}); update minigpt, or name another folder in MINIGPT_HOME"
        )
    # a property of the file; refused while another process does the same, which will do
    with contextlib.suppress(sqlite3.OperationalError):
        db.execute("PRAGMA journal_mode = WAL")
    # a power cut may take the last seconds; a killed process loses nothing
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("BEGIN IMMEDIATE")
    for version in range(_version(db), len(_VERSIONS)):
        for statement in _VERSIONS[version]:
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {version + 1}")
    db.execute("COMMIT")
    return db


def _version(db: sqlite3.Connection) -> int:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    return version


def _in_memory(path: Path, *, is_damaged: bool) -> sqlite3.Connection:
    """What can be read of a database that cannot be written; nothing of a damaged one."""
    for mode in ("mode=ro", "immutable=1"):  # the second where not even a lock can be written
        if is_damaged:
            break
        memory = sqlite3.connect(":memory:", isolation_level=None)
        try:
            uri = f"{path.absolute().as_uri()}?{mode}"
            with contextlib.closing(sqlite3.connect(uri, uri=True)) as db:
                db.backup(memory)  # damage too
            return _prepare(memory, path)
        except InputError:  # it is of a newer minigpt
            memory.close()
            raise
        except (sqlite3.DatabaseError, ValueError):
            memory.close()
    return _prepare(sqlite3.connect(":memory:", isolation_level=None), path)
