"""Draw the README's picture from the running app: python tui/screenshot.py [COLUMNSxROWS]."""

import asyncio
import sys
from pathlib import Path

from minigpt.runtime.library import find_model
from minigpt_tui.engine_client import EngineClient
from minigpt_tui.minigpt_app import MinigptApp
from minigpt_tui.screens.main import MainScreen
from minigpt_tui.writer import State

PICTURE = Path(__file__).with_name("screenshot.svg")


async def draw(columns: int, rows: int) -> None:
    """Let the shipped model write a page and save the screen."""
    engine = EngineClient()
    app = MinigptApp(engine, find_model(None))
    async with app.run_test(size=(columns, rows)) as pilot:
        screen = app.screen
        assert isinstance(screen, MainScreen)

        async def until(state: State) -> None:
            while screen.writer.state is not state:
                await pilot.pause(0.05)

        await until(State.READY)
        await pilot.press("enter")  # the marked example, "ROMEO:"
        await until(State.READY)
        await pilot.press("f6", *["left"] * 9)  # coloured by probability, the cursor in a word
        await pilot.pause(0.5)  # the status row is drawn five times a second
        PICTURE.write_text(app.export_screenshot(), encoding="utf-8")
    engine.close()


if __name__ == "__main__":
    columns, _, rows = (sys.argv[1] if len(sys.argv) > 1 else "110x32").partition("x")
    asyncio.run(draw(int(columns), int(rows)))
