import errno
import os
import signal
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.corpus import Corpus, TokenizedCorpus, read_corpus
from minigpt.errors import InputError
from minigpt.tokenizer import CharTokenizer
from minigpt.training import shards
from minigpt.training.shards import Piece, prepare, read_tokenized
from tests.stops import in_child


def in_memory(paths: Sequence[Path]) -> TokenizedCorpus:
    return TokenizedCorpus.from_corpus(read_corpus(paths))


def assert_same(got: TokenizedCorpus, expected: TokenizedCorpus) -> None:
    assert (got.name, got.sha256, got.tokenizer) == (
        expected.name, expected.sha256, expected.tokenizer
    )  # fmt: skip
    assert got.ids.tolist() == expected.ids.tolist()


# Characters of one to four bytes, both ends of a line, what may begin a file.
TEXTS = st.lists(
    st.sampled_from(["a", " ", "é", "—", "😀", "\r\n", "\r", "\n", "\ufeff"]), max_size=30
).map(lambda parts: "".join(parts).encode())
NO_TEXTS = st.tuples(TEXTS, st.one_of(st.just(b"\0"), st.binary(max_size=5)), TEXTS).map(b"".join)


def written(folder: str, contents: Sequence[bytes]) -> list[Path]:
    paths = [Path(folder) / f"{i}.txt" for i in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return paths


@given(st.lists(TEXTS.map(b"x".__add__), min_size=1, max_size=3), st.integers(1, 9))
def test_pieces_give_what_memory_gives(contents: list[bytes], piece_bytes: int) -> None:
    with TemporaryDirectory() as folder:
        paths = written(folder, contents)
        for _ in range(2):  # made, and found again
            got = prepare(paths, Path(folder), piece_bytes=piece_bytes, processes=1)
            assert_same(got, in_memory(paths))


@given(st.lists(st.one_of(TEXTS, NO_TEXTS), min_size=1, max_size=3), st.integers(1, 9))
def test_pieces_are_refused_as_in_memory(contents: list[bytes], piece_bytes: int) -> None:
    def refusal(read: Callable[[Sequence[Path]], object]) -> str:
        try:
            read(paths)
        except InputError as error:
            return str(error)
        return ""

    with TemporaryDirectory() as folder:
        paths = written(folder, contents)
        in_pieces = partial(prepare, cache=Path(folder), piece_bytes=piece_bytes, processes=1)
        assert refusal(in_pieces) == refusal(in_memory)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "book.txt"
    path.write_bytes("Zwölf Boxkämpfer — jagen\r\nEva 😀.\r\n".encode() * 20)
    return path


def test_several_processes_do_the_same(book: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    got = prepare(
        [book, book], tmp_path, lambda *news: told.append(news), piece_bytes=100, processes=2
    )
    assert_same(got, in_memory([book, book]))
    total = 2 * book.stat().st_size
    assert [news for news in told if news[1] == total] == [
        ("hash", total, total), ("characters", total, total), ("ids", total, total)
    ]  # fmt: skip


def test_an_error_in_another_process_is_told_in_order(book: Path, tmp_path: Path) -> None:
    content = book.read_bytes()
    book.write_bytes(content + b"\xff" + content + b"\xfe")
    with pytest.raises(InputError, match=rf"byte {len(content)} .line 41. is 0xff"):
        prepare([book], tmp_path, piece_bytes=64, processes=2)


@pytest.mark.parametrize(
    ("vocab_size", "bytes_each"), [(256, 1), (257, 2), (65_536, 2), (65_537, 4)]
)
def test_ids_take_the_fewest_bytes(tmp_path: Path, vocab_size: int, bytes_each: int) -> None:
    path = tmp_path / "all.txt"
    text = "".join(map(chr, range(0x10000, 0x10000 + vocab_size)))
    path.write_text(text, encoding="utf-8")
    got = prepare([path], tmp_path, processes=1)
    assert got.ids.itemsize == bytes_each
    assert np.array_equal(got.ids, np.arange(vocab_size))


def is_found(paths: Sequence[Path], cache: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the ids of a text are there and used, rather than made."""

    class MadeError(Exception):
        pass

    def fail(*_: object) -> None:
        raise MadeError

    with monkeypatch.context() as patch:
        patch.setattr(shards, "_surveyed", fail)
        try:
            prepare(paths, cache)
        except MadeError:
            return False
    return True


def test_whole_ids_are_used_again(
    book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    assert not is_found([book], cache, monkeypatch)
    prepare([book], cache, processes=1)
    assert is_found([book], cache, monkeypatch)
    assert not is_found([book, book], cache, monkeypatch)
    book.write_bytes(book.read_bytes()[:-1])
    assert not is_found([book], cache, monkeypatch)


def test_damaged_ids_are_made_again(
    book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    expected = in_memory([book])
    prepare([book], cache, processes=1)
    whole = {path: path.read_bytes() for path in cache.iterdir()}
    assert len(whole) == 2
    for path, content in whole.items():
        flipped = bytearray(content)
        flipped[len(content) // 2] ^= 1
        for damaged in (flipped, content[:-1], b"", content[: len(content) // 2], b"[]", None):
            if damaged is None:
                path.unlink()
            else:
                path.write_bytes(damaged)
            assert not is_found([book], cache, monkeypatch)
            assert_same(prepare([book], cache, processes=1), expected)
            assert {path: path.read_bytes() for path in cache.iterdir()} == whole


def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "truncate", full)
    with pytest.raises(InputError, match=r"cannot write .*No space left"):
        prepare([book], tmp_path / "cache", processes=1)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_up_is_one_sentence(book: Path) -> None:
    piece = Piece(book, 0, 10, "", last=False)
    with pytest.raises(InputError, match=r"the ids of the text.*No space left"):
        shards._encode(CharTokenizer("Zw"), Path("/dev/full"), (piece, 0))


def test_a_folder_that_cannot_be_made_is_one_sentence(book: Path) -> None:
    with pytest.raises(InputError, match="cannot write to"):
        prepare([book], book / "cache", processes=1)


def test_a_file_that_changes_meanwhile_is_refused(book: Path, tmp_path: Path) -> None:
    def grow(what: str, done: int, total: int) -> None:
        if what == "ids" and done == total:
            book.write_bytes(book.read_bytes() + b"more")

    with pytest.raises(InputError, match="changed"):
        prepare([book], tmp_path / "cache", grow, processes=1)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_what_a_kill_left_goes_and_what_is_being_written_stays(book: Path, tmp_path: Path) -> None:
    cache, other = tmp_path / "cache", tmp_path / "other.txt"
    other.write_text("another text", encoding="utf-8")

    def killed(what: str, done: int, total: int) -> None:
        if what == "ids":
            os.kill(os.getpid(), signal.SIGKILL)

    def meanwhile(what: str, done: int, total: int) -> None:
        if what == "ids":
            prepare([other], cache, processes=1)

    assert in_child(lambda: prepare([book], cache, killed, processes=1)) == -signal.SIGKILL
    (left,) = cache.iterdir()
    assert_same(prepare([book], cache, meanwhile, processes=1), in_memory([book]))
    assert not left.exists()
    assert len(list(cache.iterdir())) == 4


def test_small_texts_need_no_files(
    book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    small = read_tokenized([book], cache)
    assert not cache.exists()
    monkeypatch.setattr(shards, "LARGE_BYTES", book.stat().st_size)
    assert_same(read_tokenized([book], cache), small)
    assert cache.exists()
    with pytest.raises(InputError, match="does not exist"):
        read_tokenized([book, tmp_path / "no.txt"], cache)


def test_training_on_mapped_ids_is_the_same(corpus: Corpus, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from minigpt.training.checkpoint import BEST, LAST
    from minigpt.training.loop import train
    from tests.training.test_loop import small_run

    path = tmp_path / corpus.name
    path.write_text(corpus.text, encoding="utf-8")
    runs = {"memory": in_memory([path]), "disk": prepare([path], tmp_path, processes=1)}
    for name, tokenized in runs.items():
        (tmp_path / name).mkdir()
        list(train(small_run(tmp_path / name / "run", tokenized)))
    assert runs["disk"].ids.itemsize < runs["memory"].ids.itemsize
    for file in (LAST, BEST):
        one, two = (tmp_path / name / "run" / file for name in runs)
        assert one.read_bytes() == two.read_bytes()
