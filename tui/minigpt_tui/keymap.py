"""The user's own keys, checked, as `App.set_keymap` takes them."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import combinations
from typing import NamedTuple

from textual.app import App
from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import REPLACED_KEYS, Keys, _character_to_key, key_to_character
from textual.screen import Screen
from textual.widgets import TextArea

from minigpt.errors import InputError
from minigpt_tui.preferences import choice

MODIFIERS = frozenset({"ctrl", "shift", "alt", "super", "hyper", "meta"})
NAMED_KEYS = frozenset(key.value for key in Keys) | REPLACED_KEYS.keys()


SHOWN = {
    "left": "←", "right": "→", "up": "↑", "down": "↓", "escape": "Esc", "pageup": "PgUp",
    "pagedown": "PgDn", "delete": "Del",
}  # fmt: skip
"""Keys that are not shown as they are called."""
EDITING = frozenset(
    key.strip() for b in TextArea.BINDINGS if isinstance(b, Binding) for key in b.key.split(",")
)
"""What a text field has for itself."""


class _Held(NamedTuple):
    """A key as a binding holds it."""

    owner: type[DOMNode]
    binding: Binding
    key: str


def keymap(
    keys: Mapping[str, str],
    owners: Iterable[type[DOMNode]],
    while_writing: Collection[type[DOMNode]] = (),
) -> dict[str, str]:
    """The keys of the bindings that the user has changed.

    Args:
        keys: of each binding's id the keys that the user wants, with commas between them.
        owners: all classes that have bindings: the app, its screens and its widgets.
        while_writing: those whose keys are for when the user writes, too: the prompt, and what
            is around it.

    Raises:
        InputError: no binding has such an id, there is no such key, two bindings would have one
            key in one place, so that one of them could never be reached, one would take what
            is typed, or be out of reach while the user writes. The sentence names them.
    """
    bindings = [(owner, binding) for owner in owners for binding in _bindings(owner)]
    ids = sorted({str(binding.id) for _, binding in bindings})
    wanted: dict[str, str] = {}
    for id_, text in keys.items():
        choice("key binding", id_, ids)
        wanted[id_] = ",".join(_key(id_, key) for key in text.split(","))
    held = [
        _Held(owner, binding, key.strip())
        for owner, binding in bindings
        for key in wanted.get(str(binding.id), binding.key).split(",")
    ]
    for a, b in combinations(held, 2):
        is_new = a.binding.id in wanted or b.binding.id in wanted
        if is_new and a.key == b.key and a.binding.id != b.binding.id and _meet(a, b):
            raise InputError(
                f"the key bindings {a.binding.id!r} and {b.binding.id!r} both have the key "
                f"{a.key!r}; give one of them another"
            )
    taken = EDITING.union(h.key for h in held if issubclass(h.owner, TextArea))
    for owner, binding in bindings:
        if binding.id in wanted and owner in while_writing:
            others = frozenset[str]() if issubclass(owner, TextArea) else taken
            _spare_prompt(binding, wanted[binding.id].split(","), others)
    return wanted


def key_names(keys: Mapping[str, str], owners: Iterable[type[DOMNode]]) -> dict[str, str]:
    """The first key of each binding, by the binding's id, as a person calls it.

    Args:
        keys: what `keymap` gave.
        owners: as there.
    """
    return {
        str(b.id): key_name(keys.get(str(b.id), b.key).partition(",")[0])
        for owner in owners
        for b in _bindings(owner)
    }


def keys_of(node: DOMNode) -> dict[str, str]:
    """How a text calls the keys of a screen or widget, by the binding's id."""
    return key_names(node.app._keymap, [type(node)])  # Textual has no public name for it


def key_name(key: str) -> str:
    """A key as it is written on a keyboard.

    >>> [key_name(key) for key in ("ctrl+n", "shift+left", "slash", "minus", "tab", "h", "G")]
    ['Ctrl+N', 'Shift+←', '/', '-', 'Tab', 'H', 'Shift+G']
    """
    *modifiers, name = key.strip().split("+")
    if len(name) == 1 and name.isupper():
        modifiers.append("shift")
    sign = _sign(name).strip()
    name = SHOWN.get(name) or (sign or name).title()
    return "+".join((*(modifier.title() for modifier in modifiers), name))


def _sign(key: str) -> str:
    """What a key types; that of Tab, say, is nothing to show."""
    sign = key_to_character(REPLACED_KEYS.get(key, key)) or ""
    return sign if sign.isprintable() else ""


def _bindings(owner: type[DOMNode]) -> Iterator[Binding]:
    """Those that have an id, also of the classes above, if those below do not bind their keys."""
    taken: set[str] = set()
    for class_ in owner.__mro__:
        own = [b for b in class_.__dict__.get("BINDINGS", ()) if isinstance(b, Binding) and b.id]
        yield from (b for b in own if not taken.issuperset(b.key.split(",")))
        taken.update(key for b in own for key in b.key.split(","))


def _meet(a: _Held, b: _Held) -> bool:
    """Whether one of two bindings takes the key from the other for ever.

    What has the focus may have a key that the screen has too: it is the screen's everywhere else.
    A priority binding of the screen, or of the app, leaves no such place.
    """
    if a.owner is b.owner:
        return True
    outer = min((a, b), key=lambda held: _depth(held.owner))
    return outer.binding.priority and _depth(a.owner) != _depth(b.owner)


def _spare_prompt(binding: Binding, keys: Collection[str], taken: Collection[str]) -> None:
    """See that a binding works while the user writes, and can take nothing that is typed.

    Raises:
        InputError: it does not, or could.
    """
    typed = [key for key in keys if _sign(key)]
    own = binding.key.split(",")  # those have their way, as Ctrl+C has when nothing is selected
    deaf = [key for key in keys if key not in own and (key in taken or key in typed)]
    lost = typed if binding.priority else deaf if len(deaf) == len(keys) else []
    if lost:
        raise InputError(
            f"the key binding {binding.id!r} cannot have the key {lost[0]!r}: it is the prompt's, "
            "for what you write; give it another"
        )


def _depth(owner: type[DOMNode]) -> int:
    return 0 if issubclass(owner, App) else 1 if issubclass(owner, Screen) else 2


def _key(id_: str, text: str) -> str:
    """A key as Textual calls it: `Ctrl+H` is "ctrl+h", `?` is "question_mark", `H` stays.

    Raises:
        InputError: no keyboard sends it.
    """
    text = text.strip()
    if len(text) == 1:
        return _character_to_key(text)
    *modifiers, key = text.lower().split("+")
    is_known = len(key) == 1 or key in NAMED_KEYS or (key and key_to_character(key))
    if not is_known or not MODIFIERS.issuperset(modifiers):
        raise InputError(
            f"the key binding {id_!r} cannot have the key {text!r:.40}; keys are called as "
            'in "h", "f5", "ctrl+g", "shift+left", "question_mark"'
        )
    return "+".join((*modifiers, key))
