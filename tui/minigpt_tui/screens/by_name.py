"""Commands by name, done on the main screen."""

from typing import TYPE_CHECKING

from minigpt.errors import InputError
from minigpt.terminal import printable
from minigpt_tui.commands import Choice, Command, Names, choices, parse
from minigpt_tui.widgets.prompt import Prompt
from minigpt_tui.widgets.side_panel import SidePanel

if TYPE_CHECKING:  # it has these done
    from minigpt_tui.screens.main import MainScreen


def complete(main: "MainScreen", line: str) -> tuple[Choice, ...]:
    """How a half typed line could go on, with what there is by name at the moment."""
    presets = main.query_one(SidePanel).sampling.presets
    return choices(line, Names(presets, main.app.available_themes))


async def obey(main: "MainScreen", line: str) -> None:
    """Do what a line that begins with a slash says, or tell why not and let the user mend it."""
    main.app.clear_notifications()  # one of a line before would seem to be of this one
    try:
        await run(main, *parse(line))
    except InputError as error:
        main.query_one(Prompt).put_back(line)
        main.tell(printable(str(error)), is_error=True)


async def begin(main: "MainScreen", command: Command) -> None:
    """Do it; where its name says too little, let the user write on."""
    if command.needs_more:
        prompt = main.query_one(Prompt)
        prompt.write(f"/{command.name} ")
        prompt.focus()
    else:
        await run(main, command)


async def run(main: "MainScreen", command: Command, argument: str = "") -> None:
    """Do it.

    Raises:
        InputError: as the action that it stands for.
    """
    owners = {"": main, "app": main.app, "panel": main.query_one(SidePanel)}
    owner, _, action = command.action.rpartition(".")
    parameters = (argument,) if command.wants else ()
    await main.app.run_action(("", action, parameters), owners[owner])
