import errno
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt.errors import InputError
from minigpt.runtime.params import SamplingParams
from minigpt_tui import database
from minigpt_tui.database import default_path
from minigpt_tui.document import Document
from minigpt_tui.protocol import Score, Written
from minigpt_tui.sessions import Found, Sessions

DAY_S = 24 * 3600.0
ACTS = ["type", "write", "force", "rewind", "undo", "redo", "name", "change", "save"]


class Clock:
    """A second later at every look."""

    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(tmp_path: Path, clock: Clock) -> Iterator[Sessions]:
    opened = Sessions(tmp_path / "sessions.db", clock)
    yield opened
    opened.close()


def written(text: str) -> tuple[Written, ...]:
    return tuple(Written(ord(c) % 99, c, -0.5, 1.5, 2, 3, c == "\n") for c in text)


def text_only(text: str) -> Document:
    document = Document()
    document.append_user(text)
    return document


def stored(sessions: Sessions, text: str) -> int:
    return sessions.save(sessions.create(), text_only(text))


def state(document: Document) -> tuple[object, ...]:
    return (
        document.text,
        document.head,
        [document.origin(i) for i in range(len(document))],
        document.leaves(),
        document.nodes.columns,
        document.nodes.stretches,
        document.undone_to,
        document.redone_to,
        document.runs,
    )


def previews(sessions: Sessions) -> list[str]:
    return [info.preview for info in sessions.list()]


def snippet(found: Found) -> str:
    return "".join(f"[{text}]" if is_hit else text for text, is_hit in found.snippet)


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["type", "write", "force", "rewind", "undo", "redo", "name", "change", "save"]
            ),
            st.text(min_size=1, max_size=5),
            st.integers(0, 20),
        ),
        max_size=30,
    )
)
def test_what_is_loaded_is_what_was_saved(
    tmp_path_factory: pytest.TempPathFactory, acts: list[tuple[str, str, int]]
) -> None:
    sessions = Sessions(tmp_path_factory.mktemp("sessions") / "sessions.db")
    id, document = sessions.create(), Document()
    for act, text, number in acts:
        document.mark()
        match act:
            case "type":
                document.append_user(text, [Score(number, -1.0, 2.0, 3, 4)])
            case "write":
                document.begin_run(SamplingParams(seed=number), stops=(text,), model_name="small")
                document.append_tokens(written(text))
            case "force":
                document.append_forced(Written(number, text, -1.0, 1.0, 1, 1, False))
            case "rewind":
                document.rewind(number)
            case "undo":
                document.undo()
            case "redo":
                document.redo()
            case "name" if document.leaves():
                document.name(document.leaves()[number % len(document.leaves())].leaf, text)
            case "change" if document.runs:
                bans = SamplingParams(logit_bias=((number, float("-inf")),))
                document.runs[-1].changes.append((number, bans))
            case _:
                assert sessions.save(id, document) == id
    assert sessions.save(id, document) == id
    sessions.close()
    again = Sessions(sessions._db.path)
    if len(document.nodes):
        assert state(again.load(id)) == state(document)
    else:
        assert again.list() == ()
    again.close()


def test_a_loaded_document_can_be_written_on_and_saved(sessions: Sessions) -> None:
    id = stored(sessions, "Once ")
    document = sessions.load(id)
    document.append_tokens(written("upon"))
    document.rewind(3)
    document.append_user("!")
    assert sessions.save(id, document) == id
    assert state(sessions.load(id)) == state(document)


def test_nothing_is_stored_of_an_empty_document(sessions: Sessions) -> None:
    sessions.save(sessions.create(), Document())
    assert sessions.list() == ()


def test_only_what_is_new_is_written(sessions: Sessions) -> None:
    id, document = sessions.create(), text_only("a" * 50_000)
    sessions.save(id, document)
    document.append_user("b")
    sessions.save(id, document)
    sizes = sessions._db.read("SELECT length(nodes) FROM parts ORDER BY start")
    assert sizes[1][0] < 100 < sizes[0][0]
    before = sessions.list()
    sessions.save(id, document)
    sessions.save(id, sessions.load(id))
    assert sessions.list() == before, "looking at it does not make it newer"


def test_lists_the_newest_first(sessions: Sessions) -> None:
    first = stored(sessions, "first\nline")
    stored(sessions, "second")
    assert previews(sessions) == ["second", "first␊line"]
    document = sessions.load(first)
    document.append_user("!")
    document.begin_run(SamplingParams(), model_name="shakespeare")
    sessions.save(first, document)
    newest, other = sessions.list()
    assert (newest.id, newest.n_chars, newest.model) == (first, 11, "shakespeare")
    assert newest.created < other.created < newest.updated
    assert sessions.list(limit=1) == (newest,)


def test_what_was_undone_is_still_known_by_how_it_began(sessions: Sessions) -> None:
    id, document = sessions.create(), text_only("older")
    document.rewind(0)
    document.append_user("newer, and on")
    document.rewind(5)
    document.append_user("!")
    for length, preview in ((6, "newer!"), (5, "newer"), (0, "newer!")):
        document.rewind(length)
        sessions.save(id, document)
        (info,) = sessions.list()
        assert (info.n_chars, info.preview) == (length, preview)


def test_renames_and_keeps_the_name(sessions: Sessions) -> None:
    id = stored(sessions, "text")
    sessions.rename(id, "balcony\x1b[31m\n")
    document = sessions.load(id)
    document.append_user("!")
    sessions.save(id, document)
    assert sessions.list()[0].name == "balcony␛[31m␊"


def test_deleting_can_be_undone_for_thirty_days(sessions: Sessions, clock: Clock) -> None:
    kept, lost = stored(sessions, "kept"), stored(sessions, "lost")
    for id in (kept, lost):
        sessions.delete(id)
    assert sessions.list() == ()
    assert sessions.search("kept") == ()
    clock.now += 29 * DAY_S
    again = Sessions(sessions._db.path, clock)
    again.restore(kept)
    assert previews(again) == ["kept"]
    assert again.load(lost).text == "lost"
    clock.now += 2 * DAY_S
    later = Sessions(sessions._db.path, clock)
    assert previews(later) == ["kept"]
    with pytest.raises(InputError, match="no longer stored"):
        later.load(lost)
    assert later._db.read("SELECT count(*) FROM parts") == [(1,)]
    again.close()
    later.close()


def test_a_duplicate_goes_its_own_way(sessions: Sessions) -> None:
    id = stored(sessions, "one")
    sessions.rename(id, "scene")
    copy = sessions.duplicate(id)
    document = sessions.load(copy)
    document.append_user(" two")
    sessions.save(copy, document)
    assert [(info.name, info.preview) for info in sessions.list()] == [
        ("scene (copy)", "one two"),
        ("scene", "one"),
    ]
    with pytest.raises(InputError, match="cannot be duplicated"):
        sessions.duplicate(sessions.create())


def test_a_copy_without_a_name_is_called_by_how_it_begins(
    sessions: Sessions, tmp_path: Path
) -> None:
    id = stored(sessions, "ROMEO:\nBut soft! What light through yonder window breaks?")
    sessions.duplicate(id)
    other = Sessions(tmp_path / "sessions.db")
    mine, theirs = sessions.load(id), other.load(id)
    mine.append_user("!")
    theirs.append_user("?")
    sessions.save(id, mine)
    other.save(id, theirs)
    names = [info.name for info in other.list()]
    assert sorted(names) == ["", *["ROMEO: But soft! Wha… (copy)"] * 2]
    other.close()


def test_finds_words_in_every_branch(sessions: Sessions) -> None:
    document = text_only("But soft, what light through yonder window breaks?")
    document.rewind(20)
    document.append_user("ning strikes")
    sessions.save(sessions.create(), document)
    stored(sessions, "To be, or not to be")
    assert [snippet(found) for found in sessions.search("not be")] == ["To [be], or [not] to [be]"]
    (found,) = sessions.search("yonder")
    assert "through [yonder] window" in snippet(found)
    (found,) = sessions.search("lightning")
    assert "what [lightning]" in snippet(found)
    assert len(sessions.search("b")) == 2, "the beginning of a word will do"
    assert sessions.search("juliet") == ()


def test_finds_names_before_texts(sessions: Sessions) -> None:
    balcony, play = stored(sessions, "But soft!"), stored(sessions, "A zebra, a zebra! My play!")
    nameless = stored(sessions, "My kingdom for a zebra play!")
    sessions.rename(balcony, "Zebra, the play")
    sessions.rename(play, "Zebra play")
    sessions.rename(stored(sessions, "To be"), "A, beside B")
    found = sessions.search("zebra pl")
    assert [each.info.id for each in found] == [play, balcony, nameless]
    assert [snippet(each) for each in found] == [
        "A [zebra], a [zebra]! My [play]!", "But soft!", "My kingdom for a [zebra] [play]!",
    ]  # fmt: skip
    assert sessions.search("beside") == (), "nobody has called it so"
    assert [each.info.id for each in sessions.search("zebra", limit=1)] == [play]
    sessions.delete(balcony)
    assert balcony not in [each.info.id for each in sessions.search("zebra")]


def test_finds_what_was_written_since_the_last_search(sessions: Sessions) -> None:
    id = stored(sessions, "ROMEO")
    assert sessions.search("juliet") == ()
    document = sessions.load(id)
    document.append_user(" and JULIET")
    sessions.save(id, document)
    assert [found.info.id for found in sessions.search("juliet")] == [id]


@pytest.mark.parametrize("words", ["", "   ", '"', "(", "* -", "a OR", 'NEAR("a")', "\ud83d", "\0"])
def test_any_words_can_be_looked_for(sessions: Sessions, words: str) -> None:
    stored(sessions, "a \x1b[31m \ud83d text\ufdd0")
    sessions.search(words)
    assert sessions.hear() == []


def test_what_is_found_is_safe_to_show(sessions: Sessions) -> None:
    stored(sessions, "red \x1b[31m and\nblue")
    (found,) = sessions.search("red")
    assert snippet(found) == "[red] ␛[31m and␊blue"


def test_two_processes_write_their_own_sessions(sessions: Sessions, tmp_path: Path) -> None:
    other = Sessions(tmp_path / "sessions.db")
    mine, theirs = Document(), Document()
    my_id, their_id = sessions.create(), other.create()
    for _ in range(20):
        mine.append_user("a")
        theirs.append_user("b")
        sessions.save(my_id, mine)
        other.save(their_id, theirs)
    assert sorted(previews(sessions)) == ["a" * 20, "b" * 20]
    assert sessions.hear() + other.hear() == []
    other.close()


def test_two_processes_at_one_session_lose_nothing(sessions: Sessions, tmp_path: Path) -> None:
    id = stored(sessions, "start")
    other = Sessions(tmp_path / "sessions.db")
    mine, theirs = sessions.load(id), other.load(id)
    mine.append_user(" mine")
    theirs.append_user(" theirs")
    assert sessions.save(id, mine) == id
    copy = other.save(id, theirs)
    assert copy != id
    theirs.append_user("!")
    assert other.save(copy, theirs) == copy
    assert sorted(previews(sessions)) == ["start mine", "start theirs!"]
    other.close()


def test_what_another_process_deletes_while_it_is_written_on_is_kept(
    sessions: Sessions, tmp_path: Path
) -> None:
    id = stored(sessions, "start")
    other = Sessions(tmp_path / "sessions.db")
    document = sessions.load(id)
    other.delete(id)
    document.append_user(" and on")
    kept = sessions.save(id, document)
    assert kept != id
    assert previews(sessions) == previews(other) == ["start and on"]
    other.restore(id)
    assert sorted(previews(sessions)) == ["start", "start and on"]
    sessions.delete(kept)  # one's own
    document.append_user("!")
    assert sessions.save(kept, document) == kept
    assert previews(sessions) == ["start"]
    other.close()


def child(script: str, folder: Path) -> subprocess.Popen[str]:
    prelude = (
        "from minigpt_tui.database import default_path\n"
        "from minigpt_tui.document import Document\n"
        "from minigpt_tui.protocol import Score, Written\n"
        "from minigpt_tui.sessions import Sessions\n"
        "import minigpt_tui.database\n"
        "minigpt_tui.database._BUSY_S = 120  # a machine may be that busy\n"
        "sessions, document = Sessions(default_path()), Document()\n"
        "id = sessions.create()\n"
    )
    return subprocess.Popen(
        [sys.executable, "-u", "-c", prelude + script],
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, "MINIGPT_HOME": str(folder)},
    )


WRITE_FOR_EVER = """
while True:
    document.append_tokens((Written(1, "0123456789", -0.5, 1.5, 2, 3, False),) * 100)
    print("saving", len(document))
    sessions.save(id, document)
    print("saved", len(document))
"""


@pytest.mark.parametrize("moment", ["saving", "saved"])
@pytest.mark.parametrize("n", [1, 2, 30])
def test_a_killed_process_loses_only_what_came_since_the_last_save(
    tmp_path: Path, moment: str, n: int
) -> None:
    process = child(WRITE_FOR_EVER, tmp_path)
    assert process.stdout is not None
    saved = 0
    for line in process.stdout:
        what, length = line.split()
        if what == "saved":
            saved = int(length)
        if what == moment and int(length) >= n * 1000:
            process.send_signal(signal.SIGKILL)
            break
    for line in process.stdout:  # what it still said before it died
        if line.startswith("saved ") and line.endswith("\n"):
            saved = int(line.split()[1])
    process.wait()
    sessions = Sessions(tmp_path / "sessions.db")
    texts = [sessions.load(info.id).text for info in sessions.list()]
    assert len(texts) == (1 if texts or saved else 0)
    for text in texts:
        assert len(text) >= saved
        assert text == "0123456789" * (len(text) // 10)
    assert sessions.hear() == []
    sessions.close()


def test_many_can_begin_at_once(tmp_path: Path) -> None:
    script = "document.append_user('x'); sessions.save(id, document); print(sessions.hear())"
    children = [child(script, tmp_path) for _ in range(4)]
    assert [process.communicate()[0] for process in children] == ["[]\n"] * 4
    sessions = Sessions(tmp_path / "sessions.db")
    assert previews(sessions) == ["x"] * 4
    sessions.close()


@pytest.mark.parametrize("is_writable", [True, False])
def test_a_database_of_a_newer_minigpt_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_writable: bool
) -> None:
    def refuses(path: Path) -> sqlite3.Connection:
        raise sqlite3.OperationalError("attempt to write a readonly database")

    if not is_writable:
        monkeypatch.setattr(database, "_connect", refuses)
    path = tmp_path / "sessions.db"
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"newer minigpt.*format 99"):
        Sessions(path)
    assert path.read_bytes() == before


def test_a_damaged_database_is_set_aside_and_told(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    path.write_bytes(b"this is no database" * 1000)
    sessions = Sessions(path)
    (sentence,) = sessions.hear()
    (aside,) = tmp_path.glob("sessions.db.damaged-*")
    assert aside.name in sentence
    assert aside.read_bytes() == b"this is no database" * 1000
    stored(sessions, "on it goes")
    assert previews(sessions) == ["on it goes"]
    sessions.close()


def damage(path: Path) -> None:
    """All of a database behind its first page, which tells the tables."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))


@pytest.mark.parametrize("first_page", ["is whole", "is damaged"])
def test_where_a_damaged_database_cannot_be_set_aside_a_text_is_kept_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first_page: str
) -> None:
    path = tmp_path / "sessions.db"
    before = Sessions(path)
    stored(before, "lost")
    before.close()
    damage(path)
    if first_page == "is damaged":
        path.write_bytes(b"this is no database" * 1000)
    content = path.read_bytes()

    def refuses(path: Path, target: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuses)
    sessions = Sessions(path)
    id, document = sessions.create(), text_only("kept")
    for _ in range(3):
        document.append_user(" on")
        id = sessions.save(id, document)
    (sentence,) = sessions.hear()
    assert "is damaged, and cannot be set aside (Permission denied)" in sentence
    assert sessions.load(id).text == "kept on on on"
    sessions.close()
    assert path.read_bytes() == content


def test_damage_met_later_costs_the_open_document_nothing(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    sessions = Sessions(path)
    id, document = sessions.create(), text_only("a" * 1000)
    sessions.save(id, document)
    sessions._db._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    damage(path)
    sessions._db._db.execute("PRAGMA shrink_memory")  # forget the pages that were read
    document.append_user("b")
    assert sessions.save(id, document) == id
    assert len(list(tmp_path.glob("sessions.db.damaged-*[0-9]"))) == 1
    assert len(sessions.hear()) == 1
    assert sessions.load(id).text == "a" * 1000 + "b"
    sessions.close()


def test_a_window_that_starts_keeps_what_another_one_has_just_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sessions.db"
    path.write_bytes(b"this is no database" * 1000)
    connect, others = database._connect, list[Sessions]()

    def connect_late(file: Path) -> sqlite3.Connection:
        try:
            return connect(file)
        except sqlite3.DatabaseError:
            if not others:  # which sets the damaged file aside, before this one can
                monkeypatch.setattr(database, "_connect", connect)
                others.append(Sessions(path))
                stored(others[0], "the other's")
            raise

    monkeypatch.setattr(database, "_connect", connect_late)
    sessions = Sessions(path)
    assert len(list(tmp_path.glob("sessions.db.damaged-*[0-9]"))) == 1
    assert previews(sessions) == ["the other's"]
    sessions.close()
    others[0].close()


def test_of_two_windows_the_first_one_sets_the_damaged_file_aside(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    windows = [Sessions(path), Sessions(path)]
    ids = [stored(sessions, "before") for sessions in windows]
    windows[0]._db._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    damage(path)
    for sessions in windows:
        sessions._db._db.execute("PRAGMA shrink_memory")
    for sessions, id, text in zip(windows, ids, ("first", "second"), strict=True):
        sessions.save(id, text_only(text))
        (sentence,) = sessions.hear()
        assert "was damaged" in sentence
    assert len(list(tmp_path.glob("sessions.db.damaged-*[0-9]"))) == 1
    assert {*previews(windows[0])} == {*previews(windows[1])} == {"first", "second"}
    for sessions in windows:
        sessions.close()


def test_a_damaged_session_is_refused_and_the_others_are_not(sessions: Sessions) -> None:
    good, bad = stored(sessions, "good"), stored(sessions, "bad")
    sessions._db.write(
        lambda db: db.execute("UPDATE parts SET nodes = x'00' WHERE session = ?", (bad,))
    )
    with pytest.raises(InputError, match="damaged"):
        sessions.load(bad)
    assert sessions.load(good).text == "good"
    assert [found.info.id for found in sessions.search("good")] == [good]


def test_a_full_disk_is_told_once_and_writing_goes_on(sessions: Sessions) -> None:
    id, document = sessions.create(), text_only("before")
    sessions.save(id, document)
    sessions._db._db.execute("PRAGMA max_page_count = 1")
    for i in range(5):
        document.append_user("".join(chr(33 + j * i % 90) for j in range(90_000)))
        assert sessions.save(id, document) == id
    (sentence,) = sessions.hear()
    assert "full" in sentence
    assert sessions.load(id).text == "before"
    sessions._db._db.execute("PRAGMA max_page_count = 1000000")
    assert sessions.save(id, document) == id
    assert sessions.hear() == ["Sessions are saved again."]
    assert sessions.load(id).text == document.text


def test_where_nothing_can_be_written_sessions_live_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    sessions = Sessions(tmp_path / "file" / "sessions.db")
    (sentence,) = sessions.hear()
    assert "until you quit" in sentence
    id = stored(sessions, "still here")
    assert sessions.load(id).text == "still here"
    assert [found.info.id for found in sessions.search("here")] == [id]
    assert sessions.hear() == []
    sessions.close()


def test_a_read_only_database_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Sessions(tmp_path / "sessions.db")
    id = stored(writer, "from before")

    def refuse(path: Path) -> sqlite3.Connection:
        raise sqlite3.OperationalError("attempt to write a readonly database")

    monkeypatch.setattr(database, "_connect", refuse)
    sessions = Sessions(tmp_path / "sessions.db")
    assert sessions.load(id).text == "from before"
    document = sessions.load(id)
    document.append_user("!")
    sessions.save(id, document)
    assert sessions.load(id).text == "from before!"
    assert writer.load(id).text == "from before"
    assert len(sessions.hear()) == 1
    sessions.close()
    writer.close()


def test_lives_in_the_users_data_folder_or_where_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINIGPT_HOME", str(tmp_path / "new" / "home"))
    assert default_path() == tmp_path / "new" / "home" / "sessions.db"
    Sessions(default_path()).close()
    assert default_path().is_file()
    monkeypatch.delenv("MINIGPT_HOME")
    assert default_path().name == "sessions.db"
    assert "minigpt" in default_path().parent.name
