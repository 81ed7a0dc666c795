"""Settings by name: from a run file (TOML), from `--set KEY=VALUE`, and back into a run file.

A run file has the settings at its top, or in the tables `[model]` and `[train]`, and may name the
preset that they change, or a model to begin with (`from`):

    preset = "tiny"

    [model]
    n_layer = 6

    [train]
    learning_rate = 1e-3
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from minigpt.config import GPTConfig, TrainConfig, checked, find_preset
from minigpt.errors import InputError
from minigpt.files import read_bytes

RUN_FILE = "run.toml"
"""In a run's folder: what it was trained with."""

_TABLES: Mapping[str, Mapping[str, object]] = {
    # the corpus decides on vocab_size
    "model": {f.name: f.type for f in fields(GPTConfig) if f.name != "vocab_size"},
    "train": {f.name: f.type for f in fields(TrainConfig)},
}
_ALL = {**_TABLES["model"], **_TABLES["train"]}


@dataclass(frozen=True, slots=True)
class RunFile:
    """What a run file says; each value is of its setting's type."""

    preset: str | None
    settings: dict[str, object]
    start: str | None = None
    """A model to begin with."""


def read_run_file(path: Path) -> RunFile:
    """Read and check a run file.

    Raises:
        InputError: the file is missing or not TOML, or has an unknown preset, an unknown setting
            or a value of another type; the message names the file and the setting.
    """
    content = read_bytes(path, "a TOML file of settings", max_bytes=2**20)
    try:
        given = tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, nested without end
        raise InputError(f"{path} is not a TOML file: {error}") from None
    try:
        preset = None
        if "preset" in given:
            preset = str(checked("preset", str, given.pop("preset")))
            find_preset(preset)
        start = str(checked("from", str, given.pop("from"))) if "from" in given else None
        settings: dict[str, object] = {}
        for name, known in _TABLES.items():
            table = given.pop(name, {})
            if not isinstance(table, dict):
                raise InputError(f"{name} must be a table, [{name}], not {table!r:.40}")
            settings |= _typed(table, known, f" in [{name}]")
        at_the_top = _typed(given, _ALL)
        if twice := sorted(settings.keys() & at_the_top.keys()):
            raise InputError(f"{twice[0]} is given twice, at the top and in a table")
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return RunFile(preset, settings | at_the_top, start)


def parse_settings(pairs: Sequence[str]) -> dict[str, object]:
    """Texts like "n_layer=6" as settings, each value of its setting's type.

    Raises:
        InputError: a text is not of this form, no setting has its name, or the value is not of
            the setting's type.
    """
    settings = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"--set needs key=value, not {pair!r}")
        name = _known(name.strip(), _ALL)
        settings[name] = _parsed(name, _ALL[name], value.strip())
    return settings


def apply_settings(
    model: GPTConfig, train: TrainConfig, settings: Mapping[str, object]
) -> tuple[GPTConfig, TrainConfig]:
    """Both configs with the settings applied, all at once, each going to the config that has it.

    Raises:
        InputError: a value is out of its range.
    """
    for_model: dict[str, Any] = {k: v for k, v in settings.items() if k in _TABLES["model"]}
    for_train: dict[str, Any] = {k: v for k, v in settings.items() if k in _TABLES["train"]}
    return replace(model, **for_model), replace(train, **for_train)


def to_toml(model: GPTConfig, train: TrainConfig, start: str | None = None) -> str:
    """All settings of a run as a run file; `read_run_file` gives them back to the last digit."""
    lines = [] if start is None else [f"from = {_quoted(start)}"]
    for name, config in (("model", model), ("train", train)):
        lines.append(f"[{name}]")
        # JSON's numbers, booleans and quoted texts are TOML's too, as long as they are finite
        lines += [f"{key} = {_quoted(getattr(config, key))}" for key in _TABLES[name]]
    return "\n".join(lines) + "\n"


def _quoted(value: object) -> str:
    """As TOML writes it: as JSON does, but for one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _typed(
    table: Mapping[str, object], known: Mapping[str, object], where: str = ""
) -> dict[str, object]:
    settings: dict[str, object] = {}
    for key, value in table.items():
        name = _known(key, known, where)
        if name in settings:
            raise InputError(f"{name} is given twice{where}")
        settings[name] = checked(name, known[name], value)
    return settings


def _known(key: str, known: Mapping[str, object], where: str = "") -> str:
    """The setting of that name, which may have dashes as flags do."""
    if (name := key.replace("-", "_")) not in known:
        raise InputError(
            f"unknown setting {key!r:.40}{where}; the settings are {', '.join(sorted(known))}"
        )
    return name


def _parsed(name: str, wanted: object, text: str) -> object:
    """A setting's text as a value of the type that is wanted."""
    if wanted is str:
        return text
    words = {"true": True, "false": False}
    try:
        value = words[text.lower()] if wanted is bool else json.loads(text)
    except (KeyError, ValueError, RecursionError):
        value = text
    return checked(name, wanted, value)
