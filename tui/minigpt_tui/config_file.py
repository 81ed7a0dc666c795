"""Editing the text of the user's file: what is not meant stays to the letter."""

import contextlib
import json
import tomllib
from collections.abc import Mapping, MutableMapping
from itertools import pairwise
from typing import Any

import tomlkit
from tomlkit import TOMLDocument
from tomlkit.container import OutOfOrderTableProxy

from minigpt.runtime.params import KNOBS, SamplingParams
from minigpt_tui.preferences import LINES, Preferences


def edited(text: str, old: Preferences, new: Preferences) -> str:
    """The text with what differs between two preferences; an empty one becomes a commented file.

    Args:
        text: TOML that says `old`.
        old: what it says.
        new: what it is to say.
    """
    text = text or template()
    for name in old.presets.keys() - new.presets.keys():
        text = _without_preset(text, name)
    # a line that is appended to one without an end would become a part of it
    document = tomlkit.parse(text if text.endswith("\n") else text + "\n")
    for name in LINES:
        if getattr(new, name) != getattr(old, name):
            document[name] = getattr(new, name)
    _edit(document, "sampling", _numbers(old.params), _numbers(new.params))
    _edit(document, "presets", old.presets, new.presets)
    _edit(document, "keys", old.keys, new.keys)
    return tomlkit.dumps(document)


def _without_preset(text: str, name: str) -> str:
    """Cut a table [presets.name] out; what is written otherwise stays, for `_edit`.

    tomlkit would cut the comments and empty lines behind it, too, which are about what follows.
    """
    lines = text.splitlines(keepends=True)
    starts = [i for i, line in enumerate(lines) if line.lstrip().startswith("[")]
    for start, end in pairwise([*starts, len(lines)]):
        with contextlib.suppress(tomllib.TOMLDecodeError):  # a line of a longer text
            if tomllib.loads(lines[start]) == {"presets": {name: {}}}:
                while end > start + 1 and not lines[end - 1].partition("#")[0].strip():
                    end -= 1
                return "".join([*lines[:start], *lines[end:]])
    return text


def _numbers(params: SamplingParams) -> dict[str, float]:
    return {name: getattr(params, name) for name in KNOBS}


def _edit(
    document: TOMLDocument, name: str, old: Mapping[str, Any], new: Mapping[str, Any]
) -> None:
    """Change a table from saying `old` to saying `new`; what both say stays as it is written."""
    if old == new or not (new or name in document):
        return
    if name not in document or isinstance(document[name], OutOfOrderTableProxy):
        # written in several places, or with dotted keys: tomlkit 0.15.2 edits some of these wrongly
        document.pop(name, None)
        document[name] = {}
        old = {}
    table = document[name]
    assert isinstance(table, MutableMapping)
    for key in old.keys() - new.keys():
        table.pop(key, None)
    for key, value in new.items():
        if key not in old or old[key] != value:
            table[key] = dict(value) if isinstance(value, Mapping) else value


def template() -> str:
    """A file that says the defaults, and of everything in it what it is for."""
    lines = [
        "# minigpt-tui reads this when it starts. Where it writes here itself, your words stay.",
        "# What is not here has its default, so you may delete any line, or the whole file.",
        "",
    ]
    for name, line in LINES.items():
        choices = ", ".join(json.dumps(c) for c in line.metadata.get("choices", ()))
        lines += [
            f"# {line.metadata['says']}" + (f": {choices}" if choices else ""),
            f"{name} = {json.dumps(line.default)}",
        ]
    lines += [
        "",
        "[sampling]",
        "# What the sliders begin with, and what Backspace restores.",
        *(f"# {n} = {getattr(SamplingParams(), n)}  # {knob.help}" for n, knob in KNOBS.items()),
        "",
        "[keys]",
        "# Other keys, several with commas between them, by the binding's id:",
        '# help = "f1,question_mark"',
        '# "slider.less" = "left,h"',
        "",
    ]
    return "\n".join(lines)
