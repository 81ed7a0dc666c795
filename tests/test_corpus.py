import ssl
import sys
import urllib.error
import urllib.request
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from minigpt.corpus import (
    SHAKESPEARE_SHA256,
    Corpus,
    _line,
    check_length,
    download_shakespeare,
    pydoc_corpus,
    read_corpus,
    split,
)
from minigpt.errors import InputError


def test_a_file_that_is_cut_while_it_is_read_ends_the_search_for_a_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"a\nb")
    assert _line(tmp_path / "a.txt", 10) == 2


def test_files_are_read_one_after_the_other(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffone\r\ntwo".encode())
    (tmp_path / "b.txt").write_text("dreißig", encoding="utf-8")
    corpus = read_corpus([tmp_path / "a.txt", tmp_path / "b.txt"])
    assert corpus == Corpus("a.txt + b.txt", "one\ntwo\ndreißig")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"fine\nline\n\xff\xfe", "byte 10 .line 3. is 0xff"),
        (b"\xef\xbb\xbffine\r\n\xff", "byte 9 .line 2. is 0xff"),
        (b"a\0b", "NUL"),
        ("text".encode("utf-16"), "UTF-16 text; save it as UTF-8"),
    ],
)
def test_what_is_not_text_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_corpus([tmp_path / "a.txt"])


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_corpus([tmp_path / "no.txt"])
    with pytest.raises(InputError, match="is a folder"):
        read_corpus([tmp_path])


def test_pydoc_is_always_there() -> None:
    corpus = pydoc_corpus()
    assert len(corpus.text) > 100_000
    assert corpus.text.isascii()
    assert corpus == pydoc_corpus()


def test_the_split_is_the_usual_one(shakespeare: Corpus) -> None:
    assert shakespeare.sha256 == SHAKESPEARE_SHA256
    train, val = split(np.zeros(len(shakespeare.text), np.uint32))
    assert (len(train), len(val)) == (1_003_854, 111_540)


def test_a_text_shorter_than_a_window_is_refused() -> None:
    check_length(np.zeros(100, np.uint32), 32)
    with pytest.raises(InputError, match=r"too few .* at least 37, or --set block_size=N"):
        check_length(np.zeros(30, np.uint32), 32)
    with pytest.raises(InputError, match=r"at least 20$"):  # no window is small enough
        check_length(np.zeros(10, np.uint32), 1)


def test_no_connection_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("Temporary failure in name resolution")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    with pytest.raises(InputError, match="name resolution"):
        download_shakespeare(tmp_path / "s.txt", force=False)
    assert list(tmp_path.iterdir()) == []


def test_a_python_that_trusts_nobody_is_told_how_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def distrust(*_: object, **__: object) -> None:
        raise urllib.error.URLError(ssl.SSLCertVerificationError("unable to get local issuer"))

    monkeypatch.setattr(urllib.request, "urlopen", distrust)
    for system, advice in (("darwin", "Install Certificates.command"), ("linux", "connection")):
        monkeypatch.setattr(sys, "platform", system)
        with pytest.raises(InputError, match=f"unable to get local issuer.*{advice}"):
            download_shakespeare(tmp_path / "s.txt", force=False)


def test_a_wrong_download_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: BytesIO(b"<html>"))
    with pytest.raises(InputError, match="sha256"):
        download_shakespeare(tmp_path / "s.txt", force=False)
    assert list(tmp_path.iterdir()) == []


def test_the_right_download_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shakespeare: Corpus
) -> None:
    content = shakespeare.text.encode()
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: BytesIO(content))
    assert download_shakespeare(tmp_path / "s.txt", force=False) == 1_115_394
    assert (tmp_path / "s.txt").read_bytes() == content
