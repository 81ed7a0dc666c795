"""The table of commands, and what a half typed line could become."""

import pytest

from minigpt.errors import InputError
from minigpt.runtime.params import KNOBS
from minigpt_tui.commands import COMMANDS, Names, choices, is_command, parse
from minigpt_tui.preferences import HEATS
from minigpt_tui.presets import PRESETS

NAMES = Names(PRESETS, ("nord", "dracula"))


def lines(typed: str) -> list[str]:
    return [choice.line for choice in choices(typed, NAMES)]


def test_a_slash_offers_every_command() -> None:
    assert [line.strip() for line in lines("/")] == [f"/{command.name}" for command in COMMANDS]


def test_what_begins_so_comes_before_what_contains_it() -> None:
    assert lines("/se") == ["/set ", "/seed ", "/preset ", "/reset"]
    assert lines("/SEED") == ["/seed "]
    assert lines("/nothing") == []


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("/heat ", [f"/heat {kind}" for kind in HEATS]),
        ("/heat r", ["/heat rank", "/heat probability", "/heat entropy"]),
        ("/palette ci", ["/palette cividis"]),
        ("/preset wi", ["/preset wild"]),
        ("/theme ", ["/theme dracula", "/theme nord"]),
        ("/set temp", ["/set temperature="]),
        ("/set top_k=5 temp", ["/set top_k=5 temperature="]),
        ("/set temperature=0.5", []),
        ("/quit ", []),
        ("/nothing ", []),
    ],
)
def test_what_stands_behind_a_name_is_offered(typed: str, expected: list[str]) -> None:
    assert lines(typed) == expected


def test_the_settings_and_the_models_are_those_there_are() -> None:
    assert lines("/set ") == [f"/set {name}=" for name in KNOBS]
    assert "/model shakespeare" in lines("/model ")


def test_only_a_whole_line_can_be_obeyed() -> None:
    whole = {choice.line: choice.is_whole for choice in choices("/", NAMES)}
    assert whole["/new"]
    assert not whole["/set "]
    assert [c.is_whole for c in choices("/heat rank", NAMES)] == [True]
    assert [c.is_whole for c in choices("/set top_k", NAMES)] == [False]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/", "behind the slash"),
        ("/hepl", r"there is no /hepl; did you mean /help\? //hepl writes it"),
        ("/\x1b[31m", "␛"),
        ("/preset", "/preset NAME"),
        ("/set", "temperature=0.5"),
        ("/new text", "takes nothing"),
    ],
)
def test_what_cannot_be_obeyed_is_one_sentence(line: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        parse(line)
    assert "\n" not in str(error.value)


def test_names_are_read_in_any_case_and_arguments_as_they_are() -> None:
    command, argument = parse("/Keep  My Own ")
    assert (command.name, argument) == ("keep", "My Own")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/new", True),
        ("/", True),
        ("//new", False),
        ("/a\nb", False),
        (" /new", False),
        ("", False),
    ],
)
def test_what_is_a_command(text: str, expected: bool) -> None:
    assert is_command(text) is expected
