"""Everything that can be commanded by name: behind a slash in the prompt, or in the palette.

One table. No Textual here: an action is a name, of a method of the screen, its panel, or the app.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from minigpt.errors import InputError
from minigpt.runtime.library import list_models
from minigpt.runtime.params import KNOBS
from minigpt.terminal import one_line
from minigpt_tui.preferences import HEATS, PALETTES
from minigpt_tui.presets import PRESETS, Changes

Offer = tuple[str, str]
"""What may stand behind a command's name, and what that is."""


@dataclass(frozen=True, slots=True)
class Names:
    """What there is by name at the moment; models are looked for when they are asked for."""

    presets: Mapping[str, Changes]
    themes: Iterable[str]


@dataclass(frozen=True, slots=True)
class Command:
    """Something to be done."""

    name: str
    """Typed as /name."""
    title: str
    """In the palette."""
    says: str
    action: str
    """A method without its "action_": of the main screen; as in "app.quit" of the app, as in
    "panel.set" of the panel beside the text."""
    key: str = ""
    """The id of the key binding that does the same."""
    wants: str = ""
    """What stands behind the name; in brackets if it may be left out."""
    completes: Callable[[Names], Iterable[Offer]] = lambda _: ()
    """What is offered for it; one that ends with "=" is to be written on."""
    takes_several: bool = False
    """Whether several may stand behind the name, with spaces between."""

    @property
    def needs_more(self) -> bool:
        """Whether its name alone says too little."""
        return bool(self.wants) and not self.wants.startswith("[")


def _models(_: Names) -> Iterable[Offer]:
    return ((path.stem, path.parent.name) for path in list_models())


def _presets(names: Names) -> Iterable[Offer]:
    for name, changes in names.presets.items():
        words = (f"{rule.replace('_', '-')} {value:g}" for rule, value in changes.items())
        yield name, ", ".join(words) or "minigpt's own defaults"


def _own_presets(names: Names) -> Iterable[Offer]:
    return ((name, says) for name, says in _presets(names) if name not in PRESETS)


def _settings(_: Names) -> Iterable[Offer]:
    return ((f"{name}=", knob.help) for name, knob in KNOBS.items())


def _themes(names: Names) -> Iterable[Offer]:
    return ((name, "") for name in sorted(names.themes))


def _heats(_: Names) -> Iterable[Offer]:
    return ((heat, "no colours" if heat == "off" else f"by {heat}") for heat in HEATS)


def _palettes(_: Names) -> Iterable[Offer]:
    return zip(PALETTES, ("from calm green to glowing red", "alike to every eye"), strict=True)


COMMANDS = (
    Command("new", "New text", "begin again", "new", "new"),
    Command("stop", "Stop writing", "the text stays", "stop", "stop"),
    Command("undo", "Undo", "back to the text before", "undo", "undo"),
    Command("redo", "Redo", "forward again", "redo", "redo"),
    Command("copy", "Copy text", "to the clipboard", "copy_text", "copy"),
    Command("save", "Save text to file", "or as a picture", "save", "save"),
    Command("sessions", "Sessions", "what was written before", "sessions", "sessions"),
    Command("replay", "Replay", "write this text anew and compare", "replay"),
    Command("model", "Choose model", "open another one", "models", "models", "[NAME]", _models),
    Command("about", "About this model", "what is known of it", "about"),
    Command("preset", "Use preset", "settings by name", "panel.preset", "", "NAME", _presets),
    Command(
        "set", "Change settings", "of the sliders", "panel.set", "", "temperature=0.5", _settings,
        takes_several=True,
    ),
    Command(
        "seed", "New seed", "another text, or the same again", "panel.new_seed", "new_seed", "[N]",
    ),
    Command("unban", "Lift bans and favours", "any character may come again", "panel.unban"),
    Command("reset", "Reset sliders", "back to the defaults", "panel.reset"),
    Command(
        "defaults", "Save sliders as my defaults", "what they begin with", "panel.keep_defaults",
    ),
    Command("keep", "Save preset", "the sliders, under a name", "panel.keep_preset", "", "[NAME]"),
    Command(
        "forget", "Forget preset", "one of your own", "panel.forget_preset", "", "NAME",
        _own_presets,
    ),
    Command("heat", "Heat", "colour the text", "heat", "heat", "[KIND]", _heats),
    Command(
        "palette", "Colours of the heat", "one is for colour-blind eyes too", "palette", "",
        "[NAME]", _palettes,
    ),
    Command("attention", "Attention", "what the layers do", "attention", "attention"),
    Command("branches", "Branches", "all that was written", "branches", "branches"),
    Command("ab", "A/B", "two texts side by side", "ab", "ab"),
    Command("talk", "Conversation", "speak as one, be answered as another", "talk", "talk"),
    Command("again", "Write anew", "the last part, with another seed", "again", "again"),
    Command("edit", "Edit last words", "back into the prompt", "edit", "edit"),
    Command("sliders", "Show or hide sliders", "and what is below", "toggle_panel", "sliders"),
    Command("runs", "Watch a run", "see a model learn", "app.runs", "runs"),
    Command("theme", "Theme", "other colours", "app.theme", "", "[NAME]", _themes),
    Command("files", "Where are my files", "preferences, texts, models", "app.files"),
    Command("help", "Help", "the keys", "app.help", "help"),
    Command("quit", "Quit", "everything is saved", "app.quit", "quit"),
)  # fmt: skip

BY_NAME = {command.name: command for command in COMMANDS}


@dataclass(frozen=True, slots=True)
class Choice:
    """A way to write on a line that begins with a slash."""

    line: str
    """The whole line, if this is taken."""
    label: str
    says: str
    is_whole: bool
    """Whether the line can be obeyed as it is."""


def is_command(text: str) -> bool:
    r"""Whether a text is a line for the app, and not for the model.

    >>> is_command("/help"), is_command("//help"), is_command("/ and so on\nto the end")
    (True, False, False)
    """
    return text.startswith("/") and not text.startswith("//") and "\n" not in text


def is_whole(line: str) -> bool:
    """Whether a line is the name of a command, all of it, that needs no more.

    >>> is_whole("/seed"), is_whole("/see"), is_whole("/preset"), is_whole("/seed 7")
    (True, False, False, False)
    """
    command = BY_NAME.get(line[1:].casefold())
    return command is not None and not command.needs_more


def choices(line: str, names: Names) -> tuple[Choice, ...]:
    """How a command that is half typed could go on, those that begin with it first.

    >>> [choice.line for choice in choices("/the", Names({}, ()))]
    ['/theme ']
    """
    name, space, argument = line[1:].partition(" ")
    if not space:
        offers = [(command.name, command.says) for command in COMMANDS]
        return tuple(
            Choice(
                f"/{c.name}{' ' * bool(c.wants)}", f"/{c.name} {c.wants}",
                f"{c.title}: {c.says}", not c.wants,
            )
            for c in (BY_NAME[found] for found, _ in _matching(name, offers))
        )  # fmt: skip
    command = BY_NAME.get(name.casefold())
    if command is None:
        return ()
    before, space, part = argument.rpartition(" ") if command.takes_several else ("", "", argument)
    return tuple(
        Choice(f"/{command.name} {before}{space}{text}", text, says, not text.endswith("="))
        for text, says in _matching(part, command.completes(names))
    )


def _matching(part: str, offers: Iterable[Offer]) -> list[Offer]:
    part = part.casefold()
    found = [offer for offer in offers if part in offer[0].casefold()]
    return sorted(found, key=lambda offer: not offer[0].casefold().startswith(part))


def parse(line: str) -> tuple[Command, str]:
    """The command that a line names, and what stands behind it.

    >>> command, rest = parse("/set top_k=5 seed=7")
    >>> command.action, rest
    ('panel.set', 'top_k=5 seed=7')

    Raises:
        InputError: there is no such command, or it needs more, or takes nothing.
    """
    name, _, argument = line[1:].strip().partition(" ")
    argument = argument.strip()
    if not name:
        raise InputError("a command's name stands behind the slash, as in /help")
    if (command := BY_NAME.get(name.casefold())) is None:
        near = get_close_matches(name.casefold(), BY_NAME, n=1, cutoff=0.5)
        meant = f"did you mean /{near[0]}?" if near else "a slash alone shows them all."
        raise InputError(
            f"there is no /{one_line(name):.40}; {meant} //{one_line(name):.40} writes it to the "
            "text"
        )
    if command.needs_more and not argument:
        raise InputError(f"/{name} needs more, as in /{name} {command.wants}")
    if argument and not command.wants:
        raise InputError(f"/{name} takes nothing behind it, not {one_line(argument)!r:.40}")
    return command, argument
