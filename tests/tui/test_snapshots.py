"""The whole screen, compared as a picture. After a wanted change: pytest --snapshot-update."""

from typing import Any

import pytest
from textual.pilot import Pilot

from minigpt_tui.minigpt_app import MinigptApp
from minigpt_tui.widgets.prompt import Prompt
from minigpt_tui.widgets.status_bar import StatusBar
from tests.tui.scripted_engine import MODEL, ScriptedEngine, until

SPEECH = """
Ay me! sad hours seem long.
Was that my father that went hence so fast?

BENVOLIO:
It was. What sadness lengthens Romeo's hours?

ROMEO:
Not having that, which, having, makes them short.
"""


@pytest.mark.parametrize("size", [(80, 24), (160, 50)], ids=["80x24", "160x50"])
def test_a_written_text(size: tuple[int, int], snap_compare: Any) -> None:
    engine = ScriptedEngine()
    app = MinigptApp(engine, MODEL)

    async def write(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: bool(app.screen.query(Prompt)))
        app.screen.query_one(Prompt).cursor_blink = False
        await pilot.press("enter")
        engine.write(SPEECH, elapsed_s=0.004)
        engine.write("\n", elapsed_s=0.05)
        engine.finish()
        await until(pilot, lambda: "ready" in app.screen.query_one(StatusBar).render().plain)

    assert snap_compare(app, terminal_size=size, run_before=write)
