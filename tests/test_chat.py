"""`minigpt chat`, as a pipe and as a person at a terminal."""

import argparse
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from minigpt import chat_command
from minigpt.cli import main
from minigpt.config import GPTConfig
from minigpt.runtime.chat import speakers
from minigpt.runtime.distribution import Logits
from minigpt.runtime.library import load
from minigpt.runtime.model import Model
from minigpt.runtime.params import KNOBS, SamplingParams
from minigpt.tokenizer import CharTokenizer
from tests.conftest import CARD, ScriptedDecoder

ROLES = ("--me", "ROMEO", "--as", "JULIET")


class Person(io.StringIO):
    """Lines typed at a terminal; "^C" is that key."""

    def isatty(self) -> bool:
        return True

    def readline(self, size: int | None = -1, /) -> str:  # type: ignore[override]
        if (line := super().readline()).strip() == "^C":
            raise KeyboardInterrupt
        return line


Chat = Callable[..., tuple[int, list[str], str]]


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Chat:
    """Types lines into a chat; returns the exit code, the answers and stderr."""

    def run(
        lines: Sequence[str], *arguments: str, by_hand: bool = False
    ) -> tuple[int, list[str], str]:
        typed = "".join(f"{line}\n" for line in lines)
        monkeypatch.setattr(sys, "stdin", Person(typed) if by_hand else io.StringIO(typed))
        code = main(["chat", "--seed", "7", *arguments])
        out, err = capsys.readouterr()
        return code, out.removesuffix("\n").split("\n\n") if out else [], err

    return run


def test_a_pipe_gets_the_answers_alone() -> None:
    short = ("--seed", "7", "--max-new-tokens", "60")  # all of it stays in view
    command = [sys.executable, "-m", "minigpt", "chat", *short, *ROLES]
    done = subprocess.run(
        command, input=b"hello\n\n\xff\r\nwho art thou?", capture_output=True, check=True
    )
    first, _, third = done.stdout.decode().split("\n\n")
    assert done.stderr == "note: the model has never seen '\ufffd' and skips it\n".encode()
    prompt = "ROMEO:\nhello\n\nJULIET:\n"
    written = load().generate(prompt, stop=["\n\n"], seed=7, max_new_tokens=60)
    assert first == "".join(token.text for token in written)
    assert third.endswith("\n")


def test_the_seed_decides_the_conversation(chat: Chat) -> None:
    lines, short = ("hello", "who art thou?"), (*ROLES, "--max-new-tokens", "60")
    code, answers, err = chat(lines, *short)
    assert (code, len(answers), err) == (0, 2, "")
    assert chat(lines, *short)[1] == answers
    assert chat(lines, *short, "--seed", "8")[1] != answers
    assert chat((), *ROLES) == (0, [], "")


def test_again_answers_with_the_next_seed(chat: Chat) -> None:
    _, answers, _ = chat(("hello", "/again", "bye"), *ROLES)
    assert chat(("hello",), *ROLES)[1] == answers[:1]
    assert chat(("hello", "bye"), *ROLES, "--seed", "8")[1] == answers[1:]


def test_edit_says_something_else_instead(chat: Chat) -> None:
    _, answers, _ = chat(("hello", "who", "/edit   who art thou?"), *ROLES)
    assert [answers[0], answers[2]] == chat(("hello", "who art thou?"), *ROLES)[1]


def test_undo_takes_back_what_was_said_last_and_its_answer(chat: Chat) -> None:
    short = (*ROLES, "--max-new-tokens", "40")
    _, answers, err = chat(("hello", "who", "/undo", "who art thou?"), *short)
    assert [answers[0], answers[2]] == chat(("hello", "who art thou?"), *short)[1]
    assert err == "taken back, with all that followed: who\n"
    _, answers, _ = chat(("hello", "who", "/undo", "/go"), *short)
    assert [answers[0], answers[2]] == chat(("hello", "/go"), *short)[1]


def test_go_lets_the_other_speak_on_or_first(chat: Chat, tmp_path: Path) -> None:
    file = tmp_path / "a play.txt"
    _, (first, more), _ = chat(("/go", "/go", f'/save "{file}"'), *ROLES)
    assert first
    assert more
    assert file.read_text(encoding="utf-8") == f"JULIET:\n{first}{more}\n"


def test_a_backslash_leads_into_a_folder_on_windows(
    chat: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_command, "_IS_WINDOWS", True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "talks").mkdir()
    for typed, name in ((r"talks\a play.txt", r"talks\a play.txt"), (r'"b\c.txt"', r"b\c.txt")):
        chat(("/go", f"/save {typed}"), *ROLES, "--max-new-tokens", "1")
        assert (tmp_path / name).exists()


def test_settings_change_on_the_way(chat: Chat) -> None:
    lines = ("hello", "/set temperature=0 max-new-tokens=9 seed=3", "hello", "/set")
    _, answers, err = chat(lines, *ROLES)
    assert len(answers[1]) == 9
    shown = [line.split()[0] for line in err.splitlines()]
    assert shown[:3] == ["temperature=0.0", "max_new_tokens=9", "seed=3"]
    assert [setting.split("=")[0] for setting in shown[3:]] == list(KNOBS)


def test_roles_change_on_the_way(chat: Chat, tmp_path: Path) -> None:
    lines = ("hello", '/roles Nurse "KING HENRY VI"', "my lord", "/roles", f"/save {tmp_path}/t")
    _, answers, err = chat(lines, *ROLES, "--max-new-tokens", "40")  # within the window
    expected = f"""\
ROMEO:
hello

JULIET:
{answers[0]}

Nurse:
my lord

KING HENRY VI:
{answers[1]}
"""
    assert (tmp_path / "t").read_text(encoding="utf-8") == expected
    assert err.startswith("could answer: ROMEO, JULIET, KING HENRY VI, ")


def test_go_lets_a_newcomer_speak(chat: Chat, tmp_path: Path) -> None:
    file = tmp_path / "play.txt"
    chat(("hello", "/roles ROMEO Nurse", "/go", f"/save {file}"), *ROLES)
    assert speakers(file.read_text(encoding="utf-8")) == ["ROMEO", "JULIET", "Nurse"]


def test_a_name_that_is_missing_is_one_the_model_knows(chat: Chat, tmp_path: Path) -> None:
    for arguments, n_names in (((), 2), (("--me", "ROMEO"), 1), (("--as", "JULIET"), 1)):
        file = tmp_path / "-".join(["t", *arguments])
        chat(("hello", f"/save {file}"), "--max-new-tokens", "1", *arguments)
        names = file.read_text(encoding="utf-8").splitlines()[::3]
        assert len({*names, *(f"{name}:" for name in arguments[1:])}) == 2
        assert len([name for name in names if name[:-1] not in arguments]) == n_names


def test_two_slashes_say_one(chat: Chat) -> None:
    _, answers, err = chat(("//quit",), *ROLES, "--max-new-tokens", "40")  # within the window
    assert (len(answers), err) == (1, "note: the model has never seen '/' and skips it\n")


@pytest.mark.parametrize(
    ("line", "words"),
    [("/agian", "did you mean /again?"), ("/\x1b[31m", "did you mean"), ("/edit", "/edit TEXT"),
     ("/again", "no answer yet"), ("/edit x", "not said anything"), ("/undo", "nothing has been"),
     ("/set temp=1", "the settings are temperature,"), ("/set top_k=x", "a whole number, not 'x'"),
     ("/set top_k=-1", "at least 0"), ("/set seed", "temperature=0.5, not 'seed'"),
     ("/roles ROMEO", "two names"), ("/roles A A", "two names"), ('/roles "A', "No closing"),
     ("/save", "name one file"), ("/save {here}", "exists"), ("/save {here}/a/b", "cannot write"),
     (f"/save {'a' * 999}", "File name too long"), ("/save ~nobody-here/t", "home")],
)  # fmt: skip
def test_what_cannot_be_done_is_one_sentence(
    chat: Chat, tmp_path: Path, line: str, words: str
) -> None:
    line = line.format(here=tmp_path)
    code, answers, err = chat((line, "hello"), *ROLES)
    assert (code, answers) == (2, [])  # a script that goes wrong ends
    assert words in err
    assert err.count("\n") == 1
    assert "\x1b" not in err
    code, answers, err = chat((line, "hello"), *ROLES, by_hand=True)
    assert (code, len(answers)) == (0, 1)  # a person types anew
    assert words in err


def test_a_person_is_told_who_is_who(chat: Chat) -> None:
    for end in ("/quit", "/exit"):
        code, answers, err = chat(("hello", end, "hello"), *ROLES, by_hand=True)
        assert (code, len(answers)) == (0, 1)
    assert "you are ROMEO, JULIET answers" in err
    assert err.count("ROMEO> ") == 2
    assert answers == chat(("hello",), *ROLES)[1]


def test_help_names_every_command(chat: Chat) -> None:
    _, _, err = chat(("/help",), *ROLES)
    for usage, what in chat_command.COMMANDS.items():
        assert f"{usage}: {what}" in err


def test_on_a_terminal_the_rows_of_a_list_end_between_words(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = chat(("/help", "/set", "/roles"), *ROLES)[2]
    monkeypatch.setattr(sys.stderr, "fileno", lambda: 2)
    wide, narrow = os.terminal_size((200, 24)), os.terminal_size((61, 24))
    monkeypatch.setattr(os, "get_terminal_size", lambda fd: narrow if fd == 2 else wide)
    rows = chat(("/help", "/set", "/roles"), *ROLES)[2].splitlines()
    assert max(map(len, rows)) <= 60
    assert len(rows) > len(whole.splitlines())
    assert " ".join(" ".join(rows).split()) == " ".join(whole.split())


def test_ctrl_c_twice_at_the_prompt_ends(chat: Chat) -> None:
    code, answers, err = chat(("^C", "hello", "^C", "^C", "hello"), *ROLES, by_hand=True)
    assert (code, len(answers)) == (0, 1)
    assert err.count("Ctrl-C once more") == 2
    assert chat(("hello", "^C"), *ROLES)[0] == 0  # in a pipe these are letters


class Pressing(ScriptedDecoder):
    """Presses Ctrl-C while it reads its third token."""

    def feed(self, tokens: Sequence[int]) -> Logits:
        if len(self.fed) == 2:
            signal.raise_signal(signal.SIGINT)
        return super().feed(tokens)


@pytest.fixture
def arguments() -> argparse.Namespace:
    """Those of a chat without names."""
    settings = {name: getattr(SamplingParams(temperature=0.0), name) for name in KNOBS}
    return argparse.Namespace(me="", you="", ban="", bias=[], **settings)


def test_ctrl_c_stops_the_answer_and_keeps_it(
    arguments: argparse.Namespace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    rows = [[0.0, 9.0, 0.0], [9.0, 0.0, 0.0], [9.0, 0.0, 0.0]]
    model = Model(Path("m"), GPTConfig(), CharTokenizer("ab\n"), CARD, Pressing(rows, 64))
    monkeypatch.setattr(sys, "stdin", Person(f"a\n/save {tmp_path}/t\n"))
    assert chat_command.run_chat(arguments, model) == 0
    out, err = capsys.readouterr()
    assert out == "aba\n"
    assert "stopped after: aba\n" in err
    assert (tmp_path / "t").read_text(encoding="utf-8") == "a\n\naba\n"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_pipe_is_ended_by_ctrl_c(
    arguments: argparse.Namespace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [[0.0, 9.0, 0.0], [9.0, 0.0, 0.0], [9.0, 0.0, 0.0]]
    model = Model(Path("m"), GPTConfig(), CharTokenizer("ab\n"), CARD, Pressing(rows, 64))
    monkeypatch.setattr(sys, "stdin", io.StringIO("a\n"))
    with pytest.raises(KeyboardInterrupt):
        chat_command.run_chat(arguments, model)
    assert capsys.readouterr().out == "ab"


def test_ctrl_c_ends_the_line_that_a_text_is_written_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`minigpt generate` has no other use for that key."""
    rows = [[0.0, 9.0, 0.0], [9.0, 0.0, 0.0], [9.0, 0.0, 0.0]]
    for on_terminal, written in ((True, "ba\n"), (False, "ba")):
        model = Model(Path("m"), GPTConfig(), CharTokenizer("ab\n"), CARD, Pressing(rows, 64))
        monkeypatch.setattr("minigpt.commands.open_model", lambda *_, model=model: model)
        monkeypatch.setattr(sys.stdout, "isatty", lambda on_terminal=on_terminal: on_terminal)
        assert main(["generate", "--temperature", "0", "--prompt", "a"]) == 130
        assert capsys.readouterr() == (written, "")


def test_a_model_without_names_goes_by_paragraphs(small_onnx: Path, chat: Chat) -> None:
    code, answers, err = chat(("abc", "/roles"), str(small_onnx), "--max-new-tokens", "5")
    assert (code, len(answers[0])) == (0, 5)
    assert err == "this model's texts have no names\n"
    code, answers, err = chat(("abc",), str(small_onnx), "--me", "ROMEO")
    assert (code, answers) == (2, [])
    assert "who is to speak with 'ROMEO'" in err
    for one in ("--me", "--as"):
        assert "or none: '' for both" in chat(("abc",), str(small_onnx), one, "")[2]
    _, _, err = chat((), str(small_onnx), by_hand=True)
    assert "you write a paragraph" in err
    assert err.endswith("> \n")


def test_a_long_conversation_goes_past_the_window(chat: Chat) -> None:
    words = "O, she doth teach the torches to burn bright! " * 3
    _, answers, err = chat((words, "hello", words), "--max-new-tokens", "150", *ROLES)
    assert len(answers) == 3
    assert err.count("has forgotten the rest") == 1
    assert "forgotten" not in chat(("hi",), "--max-new-tokens", "5", *ROLES)[2]
