import os
import stat
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt.errors import InputError
from minigpt.runtime.params import KNOBS, SamplingParams
from minigpt_tui.config_file import edited, template
from minigpt_tui.preferences import (
    FOLDER_VARIABLE,
    HEATS,
    PALETTES,
    Preferences,
    _parsed,
    change,
    choice,
    config_path,
    read,
)
from minigpt_tui.presets import MAX_NAME_CHARS, PRESETS, RULES


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "new" / "folder"))
    return config_path()


def write(path: Path, text: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def test_the_folder_is_the_systems_or_the_variables(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert path == tmp_path / "new" / "folder" / "config.toml"
    monkeypatch.delenv(FOLDER_VARIABLE)
    assert config_path().parts[-2:] == ("minigpt", "config.toml")


def test_without_a_file_all_is_default(path: Path) -> None:
    assert read() == Preferences()
    assert not path.parent.exists()


def test_a_file_says_what_the_user_prefers(path: Path) -> None:
    write(path, """
        theme = "nord"
        reduced_motion = true
        [sampling]
        temperature = 1
        top_k = 40
        [presets.mine]
        min_p = 0.1
        [keys]
        "slider.less" = "h"
        help = "f9"
    """)  # fmt: skip
    assert read() == Preferences(
        theme="nord",
        reduced_motion=True,
        params=SamplingParams(temperature=1.0, top_k=40),
        presets={"mine": {"min_p": 0.1}},
        keys={"slider.less": "h", "help": "f9"},
    )


def test_the_first_change_writes_a_commented_file(path: Path) -> None:
    changed = change(lambda p: replace(p, theme="nord"))
    text = path.read_text(encoding="utf-8")
    assert changed == read() == Preferences(theme="nord")
    for name, knob in KNOBS.items():
        assert f"# {name} = " in text
        assert knob.help in text
    assert all(
        line.startswith(("#", "[")) or not line or " = " in line for line in text.split("\n")
    )


def test_the_template_says_the_defaults() -> None:
    assert _parsed(Path("x"), template()) == Preferences()


def test_a_change_keeps_the_users_words(path: Path) -> None:
    mine = '# mine\ntheme  =  "nord" # dark\n\n[sampling]\n# hot\ntemperature = 1.0 # very\n'
    write(path, mine)
    change(lambda p: p.with_params(SamplingParams(temperature=1.0, top_k=4, logit_bias=((1, 2),))))
    change(lambda p: p.with_preset("own", {"min_p": 0.5}))
    text = path.read_text(encoding="utf-8")
    assert text.startswith(mine)
    assert text.removeprefix(mine).replace("\n", " ").split("  ") == [
        "top_k = 4",
        "[presets.own] min_p = 0.5 ",
    ]


def test_what_is_about_the_next_table_stays_where_a_preset_goes(path: Path) -> None:
    rest = "\n# about b\n[ presets . 'b' ]\n\n# keys\n[keys]\n"
    write(path, "# a\n[presets.a] # one\ntop_k = 5\n" + rest)
    change(lambda p: p.without_preset("a"))
    assert path.read_text(encoding="utf-8") == "# a\n" + rest
    change(lambda p: p.without_preset("b"))
    assert path.read_text(encoding="utf-8") == "# a\n\n# about b\n\n# keys\n[keys]\n"


def test_a_change_keeps_what_another_window_wrote(path: Path) -> None:
    change(lambda p: p.with_preset("a", {}))
    change(lambda p: p.with_preset("b", {"top_k": 1}))
    change(lambda p: replace(p, model="x.onnx"))
    assert read() == Preferences(model="x.onnx", presets={"a": {}, "b": {"top_k": 1}})


def test_no_change_writes_nothing(path: Path) -> None:
    assert change(lambda p: p) == Preferences()
    assert not path.exists()


@pytest.mark.parametrize(
    "text",
    [
        "presets = {x = {top_k = 3}}\nkeys = {help = 'f9'}\n",
        '[presets.x]\ntop_k = 1 # one\n[keys]\nhelp = "f9"\n[presets.y]\ntop_k = 2\n',
        "[presets]\nx.top_k = 3\n",
        'keys.help = "f9" # why\npresets.x.top_k = 3\npresets.y.top_k = 3',
        "sampling.top_k = 3\n[presets]\n[presets.x]",
        '\ufefftheme = "x"\r\n# c\r\n[presets.x]\r\n',
        'theme = "no newline at the end"',
        "",
    ],
)
@pytest.mark.parametrize(
    "edit",
    [
        lambda p: p.with_preset("x", {"temperature": 0.5}),
        lambda p: p.with_preset("new", {"temperature": 0.5}),
        lambda p: replace(p, presets={}, keys={}),
        lambda p: p.without_preset("x"),
        lambda p: replace(p, theme="b", model="m", keys={"help": "f8", "a.b": "c"}),
        lambda p: p.with_params(SamplingParams(seed=5)),
    ],
)
def test_files_written_in_other_ways_can_be_edited(
    path: Path, text: str, edit: Callable[[Preferences], Preferences]
) -> None:
    write(path, text)
    wanted = edit(read())
    assert change(edit) == wanted == read()


def preferences() -> st.SearchStrategy[Preferences]:
    whole = {n for n in KNOBS if isinstance(getattr(SamplingParams(), n), int)}
    numbers = {
        n: st.integers(int(k.low), int(min(k.limit or 2**62, 2**62))) if n in whole
        else st.floats(k.low, k.limit or k.high)
        for n, k in KNOBS.items()
    }  # fmt: skip
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    names = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8)
    rules = st.fixed_dictionaries({}, optional={n: numbers[n] for n in RULES})
    return st.builds(
        Preferences,
        theme=text,
        model=text,
        heat=st.sampled_from(HEATS),
        palette=st.sampled_from(PALETTES),
        reduced_motion=st.booleans(),
        params=st.builds(SamplingParams, **numbers),
        presets=st.dictionaries(names.filter(lambda n: n not in PRESETS), rules, max_size=3),
        keys=st.dictionaries(text, text, max_size=3),
    )


def test_the_strategy_covers_every_preference() -> None:
    example = {f.name for f in fields(Preferences)}
    assert example == {
        "theme", "model", "heat", "palette", "reduced_motion", "params", "presets", "keys",
    }  # fmt: skip


@given(preferences(), preferences())
@settings(max_examples=50, deadline=None)
def test_whatever_is_changed_is_read_again(first: Preferences, second: Preferences) -> None:
    text = ""
    for old, new in ((Preferences(), first), (first, second), (second, Preferences())):
        text = edited(text, old, new)
        assert _parsed(Path("x"), text) == new


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\nthem = 'x'", ["line 2", "'them'", "the closest: theme"]),
        ("theme = 3", ["line 1", "theme must be a text, not 3"]),
        ("reduced_motion = 1", ["line 1", "true or false"]),
        ("heat = 'entropie'", ["line 1", "no heat 'entropie'", "the closest: entropy"]),
        ("[smpling]\ntop_k = 3", ["line 1", "the closest: sampling"]),
        ("sampling = 3", ["line 1", "[sampling]"]),
        ("[sampling]\nseed = 3\ntemperature = 300", ["line 3", "between 0 and 100, not 300"]),
        ("[sampling]\ntemperature = nan", ["line 2", "between 0 and 100"]),
        ("[sampling]\n'top_k' = 1.5", ["line 2", "whole number"]),
        ("[sampling]\ntop-k = 3", ["line 2", "the closest: top_k"]),
        ("[sampling]\nlogit_bias = []", ["line 2", "'logit_bias'"]),
        ("[presets.greedy]", ["line 1", "built in"]),
        ("[presets.x]\nseed = 3", ["line 2", "'seed'"]),
        ("[presets.x]\n\n min_p = 2", ["line 3", "between 0 and 1"]),
        ("[presets]\nx = 3", ["line 2", "[presets.x]"]),
        ("[keys]\nslider.less = 'h'", ["line 2", '"slider.less"']),
        ("[keys]\nhelp = 3", ["line 2", "must be a text"]),
        ("theme = 'a'\nmodel = \n", ["line 2", "not TOML"]),
        ("x = " + "[" * 5000, ["not TOML"]),
        (b"theme = 'a'\nmodel = '\xff'", ["line 2", "UTF-8"]),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_to_do(
    path: Path, text: str | bytes, words: list[str]
) -> None:
    write(path, text)
    with pytest.raises(InputError) as refused:
        read()
    sentence = str(refused.value)
    assert str(path) in sentence
    assert all(word in sentence for word in words), sentence
    assert "mend" in sentence or "save" in sentence
    with pytest.raises(InputError):
        change(lambda p: replace(p, theme="nord"))
    assert path.read_bytes() == (text if isinstance(text, bytes) else text.encode())


def test_a_line_that_cannot_be_found_is_not_named(path: Path) -> None:
    write(path, "sampling = {temperature = 300}")
    with pytest.raises(InputError, match=r"config\.toml: temperature must be between"):
        read()


def test_a_folder_in_its_place_is_told(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(InputError, match="is a folder"):
        read()


def test_a_folder_that_cannot_be_made_is_told(path: Path) -> None:
    path.parent.parent.write_bytes(b"a file")
    with pytest.raises(InputError, match=r"cannot (make|read)"):
        change(lambda p: replace(p, theme="nord"))


def test_text_that_is_no_unicode_is_told(path: Path) -> None:
    with pytest.raises(InputError, match="not Unicode"):
        change(lambda p: replace(p, model="\udcff.onnx"))
    assert not path.exists()


def test_a_link_to_the_file_stays_a_link(path: Path, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.toml"
    real.write_text('theme = "a"\n', encoding="utf-8")
    path.parent.mkdir(parents=True)
    path.symlink_to(real)
    change(lambda p: replace(p, theme="b"))
    assert stat.S_ISLNK(os.lstat(path).st_mode)
    assert real.read_text(encoding="utf-8") == 'theme = "b"\n'


def test_a_choice_names_the_closest_or_all() -> None:
    assert choice("theme", "nord", ["nord", "paper"]) == "nord"
    with pytest.raises(InputError, match=r"there is no theme 'nrd'; the closest: nord$"):
        choice("theme", "nrd", ["nord", "paper"])
    with pytest.raises(InputError, match="there are nord, paper"):
        choice("theme", "zzz", ["nord", "paper"])


def test_a_presets_name_has_room() -> None:
    assert max(map(len, PRESETS)) <= MAX_NAME_CHARS
