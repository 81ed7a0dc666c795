"""What the user prefers, and the file that says so. No Textual here.

`read` gives a frozen Preferences; `change` writes back what is different in it and leaves the rest
of the file, its comments too, as the user wrote it.
"""

import contextlib
import difflib
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from platformdirs import user_config_path

from minigpt.config import checked
from minigpt.errors import InputError
from minigpt.files import read_bytes, write_atomically
from minigpt.runtime.params import KNOBS, SamplingParams
from minigpt_tui.presets import RULES, Changes, preset_name

FOLDER_VARIABLE = "MINIGPT_CONFIG_DIR"
MAX_BYTES = 2**20

HEATS = ("off", "probability", "entropy", "rank")
PALETTES = ("ember", "cividis")
DEFAULTS = SamplingParams()


@dataclass(frozen=True, slots=True)
class Preferences:
    """Each field is a line or a table of the file; the metadata is its comment there."""

    theme: str = field(
        default="minigpt-night", metadata={"says": "any theme of the command palette"}
    )
    model: str = field(
        default="", metadata={"says": 'what to open: a file or a name; "" is the shipped model'}
    )
    heat: str = field(default="off", metadata={"says": "what colours the text", "choices": HEATS})
    palette: str = field(
        default="ember",
        metadata={"says": '"cividis" is for colour-blind eyes too', "choices": PALETTES},
    )
    reduced_motion: bool = field(
        default=False, metadata={"says": "nothing blinks, glides or fades"}
    )
    params: SamplingParams = DEFAULTS
    """What the sliders begin with and go back to: the table [sampling]. It has no logit_bias,
    which is of one model."""
    presets: Mapping[str, Changes] = field(default_factory=dict)
    """The user's own, by name: the tables [presets.NAME]."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Other keys for bindings, by the binding's id; see `keymap`."""

    def with_params(self, params: SamplingParams) -> "Preferences":
        """With other settings to begin with."""
        return replace(self, params=replace(params, logit_bias=()))

    def with_preset(self, name: str, changes: Changes) -> "Preferences":
        """With one more preset of the user's own, or another one of that name."""
        return replace(self, presets={**self.presets, name: changes})

    def without_preset(self, name: str) -> "Preferences":
        """Without that one of the user's own, if it is there."""
        kept = {other: changes for other, changes in self.presets.items() if other != name}
        return replace(self, presets=kept)


LINES = {f.name: f for f in fields(Preferences) if f.metadata}
"""What stands at the top of the file, a line each."""
_TABLES = ("sampling", "presets", "keys")


def config_path() -> Path:
    """Where the file is, or would be: in $MINIGPT_CONFIG_DIR or the system's place for it."""
    if folder := os.environ.get(FOLDER_VARIABLE):
        return Path(folder).absolute() / "config.toml"
    return user_config_path("minigpt", appauthor=False) / "config.toml"


def read(path: Path | None = None) -> Preferences:
    """The preferences of a file, by default the user's; all defaults where there is none.

    Raises:
        InputError: the file cannot be read, is not TOML, or says something unknown or out of
            range; the sentence names the file, the line and what to do.
    """
    path = path or config_path()
    return _parsed(path, _text(path))


def change(edit: Callable[[Preferences], Preferences], path: Path | None = None) -> Preferences:
    """Read the file, edit what it says, and write back what is different now.

    Reading it anew keeps what the user, or another window of the app, has written since.

    Example:
        change(lambda p: replace(p, theme="nord"))

    Raises:
        InputError: as for `read`, or the file cannot be written. It is untouched then.
    """
    from minigpt_tui.config_file import edited  # its library takes 18 ms, and few starts need it

    path = path or config_path()
    text = _text(path)
    old = _parsed(path, text)
    new = edit(old)
    if new == old:
        return new
    try:
        content = edited(text, old, new)
        if _parsed(path, content) != new:
            raise InputError(f"{path} could not be edited; make the change by hand")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content.encode("utf-8"))
    except OSError as error:
        raise InputError(f"cannot make the folder {path.parent}: {error.strerror}") from None
    except UnicodeEncodeError:  # a path may hold bytes that are no characters
        raise InputError(f"{path} cannot hold text that is not Unicode") from None
    return new


def choice(what: str, given: str, known: Iterable[str]) -> str:
    """`given`, if it is among what is known.

    Raises:
        InputError: it is not; the sentence names the closest ones.
    """
    names = list(known)
    if given not in names:
        close = [name for name in names if given and name.startswith(given)]
        close = close or difflib.get_close_matches(given, names, n=3, cutoff=0.5)
        known_words = (
            f"the closest: {', '.join(close)}" if close else f"there are {', '.join(names)}"
        )
        raise InputError(f"there is no {what} {given!r:.40}; {known_words}")
    return given


def _text(path: Path) -> str:
    try:
        path.stat()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    content = read_bytes(path, "a TOML file of preferences", max_bytes=MAX_BYTES)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}, line {line}: not UTF-8; save the file in this encoding"
        ) from None


class _WrongError(Exception):
    """A sentence about one key of a table."""

    def __init__(self, table: str, key: str, sentence: str) -> None:
        super().__init__(sentence)
        self.table = table
        self.key = key


@contextlib.contextmanager
def _at(table: str, key: str) -> Iterator[None]:
    """Remember of a mistake where it is."""
    try:
        yield
    except InputError as error:
        raise _WrongError(table, key, str(error)) from None


def _parsed(path: Path, text: str) -> Preferences:
    try:
        return _preferences(tomllib.loads(text))
    except _WrongError as wrong:
        line = _line_of(text, wrong.table, wrong.key)
        where = f"{path}, line {line}" if line else str(path)
        raise InputError(f"{where}: {wrong}; mend it, or delete it for the default") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        words = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise InputError(f"{path} is not TOML: {words}; mend it, or delete the file") from None


def _preferences(given: Mapping[str, Any]) -> Preferences:
    found: dict[str, Any] = {}
    for key, value in given.items():
        with _at("", key):
            choice("setting", key, (*LINES, *_TABLES))
            found[key] = _table(key, value) if key in _TABLES else _line(key, value)
    sampling, own = found.pop("sampling", {}), found.get("presets", {})
    found["params"] = SamplingParams(**_numbers("sampling", sampling, tuple(KNOBS)))
    found["presets"] = {name: _preset(name, value) for name, value in own.items()}
    for id_, key in found.get("keys", {}).items():
        with _at("keys", id_):
            if isinstance(key, dict):
                raise InputError(
                    f'write the id of a binding in quotes, as "{id_}.{next(iter(key))}"'
                )
            checked(id_, str, key)
    return Preferences(**found)


def _line(key: str, value: object) -> object:
    line = LINES[key]
    checked(key, type(line.default), value)
    if choices := line.metadata.get("choices"):
        choice(key, str(value), choices)
    return value


def _table(name: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{name} must be a table, [{name}], not {value!r:.40}")
    return value


def _preset(name: str, value: object) -> Changes:
    with _at("presets", name):
        if preset_name(name) != name:
            raise InputError(f"the preset {name!r} has spaces around its name")
        table = _table(f"presets.{name}", value)
    return _numbers(f"presets.{name}", table, RULES)


def _numbers(table: str, given: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """Fields of SamplingParams, each of its type and in its range."""
    numbers: dict[str, Any] = {}
    for key, value in given.items():
        with _at(table, key):
            choice("sampling setting", key, known)
            numbers[key] = checked(key, type(getattr(DEFAULTS, key)), value)
            SamplingParams(**{key: numbers[key]})
    return numbers


def _line_of(text: str, table: str, key: str) -> int | None:
    """The line that sets a key or begins a table, where that is written the usual way."""
    wanted = f"{table}.{key}" if table else key
    current = ""
    for number, line in enumerate(text.split("\n"), 1):
        plain = re.sub(r"[\s\"']", "", line)
        if plain.startswith("["):
            current = plain.strip("[").partition("]")[0]
            if f"{current}.".startswith(f"{wanted}."):
                return number
        elif current == table and re.match(re.escape(key) + "[.=]", plain):
            return number
    return None
