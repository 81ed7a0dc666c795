"""Editing the text of the user's file: what is not meant stays to the letter."""

import json
from collections.abc import Mapping, MutableMapping
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
    # a line that is appended to one without an end would become a part of it
    document = tomlkit.parse(text if text.endswith("\n") else text + "\n")
    for name in LINES:
        if getattr(new, name) != getattr(old, name):
            document[name] = getattr(new, name)
    _edit(document, "sampling", _numbers(old.params), _numbers(new.params))
    _edit(document, "presets", old.presets, new.presets)
    _edit(document, "keys", old.keys, new.keys)
    return tomlkit.dumps(document)


def _numbers(params: SamplingParams) -> dict[str, float]:
    return {name: getattr(params, name) for name in KNOBS}


def _edit(
    document: TOMLDocument, name: str, old: Mapping[str, Any], new: Mapping[str, Any]
) -> None:
    """Change a table from saying `old` to saying `new`; what both say stays as it is written."""
    if old == new:
        return
    if name not in document or isinstance(document[name], OutOfOrderTableProxy):
        # written in several places, or with dotted keys: tomlkit 0.15.2 edits some of these wrongly
        document.pop(name, None)
        document[name] = {}
        old = {}
    table = document[name]
    assert isinstance(table, MutableMapping)
    for key in old.keys() - new.keys():
        del table[key]
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
