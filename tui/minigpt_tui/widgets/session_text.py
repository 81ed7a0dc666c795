"""What is shown of a session: its row in a list, and its preview."""

import time
from dataclasses import dataclass
from itertools import groupby

from rich.cells import cell_len, set_cell_size
from textual.content import Content
from textual.css.styles import RulesMap
from textual.strip import Strip
from textual.style import Style
from textual.visual import RenderOptions, Visual

from minigpt.terminal import one_line, printable
from minigpt_tui.document import Document
from minigpt_tui.finding import hits, where
from minigpt_tui.glyphs import cut
from minigpt_tui.sessions import COPY, Found, SessionInfo, called
from minigpt_tui.when import ago

PREVIEW_CHARS = 4000
HIT = "bold underline $success"
MODEL_CELLS = 14
WITH_MODEL = 72
"""In a list so wide the models are named; in all of them the preview does it."""
WITH_LENGTH = 46
"""In a list less wide the lengths are left out: the titles would have no room."""


def title(info: SessionInfo) -> str:
    """Its name, or how it begins."""
    return called(info.name, info.preview)


def short_title(info: SessionInfo, n_cells: int) -> str:
    """That, in so many cells; a copy is still called one."""
    return cut(title(info), n_cells, end=COPY)


@dataclass(frozen=True, slots=True)
class Row(Visual):
    """A line of a list; below it, where the words stand that were looked for.

    It is laid out when it is drawn: a list that was hidden, or has got a scroll bar since, has
    another width than when its rows were put there.
    """

    found: Found
    now: float
    is_open: bool

    def at(self, width: int) -> Content:
        """What it says in so many cells.

        Hits are bold and underlined: never colour alone.
        """
        info, width = self.found.info, max(width, 1)
        words = f"  {ago(info.updated, self.now):<14}"
        if width >= WITH_LENGTH:
            length = f"{info.n_chars:,}" if info.n_chars else "undone"
            words = f" {length:>9}{words}"
        if width >= WITH_MODEL:
            words = f"{words} {set_cell_size(one_line(info.model), MODEL_CELLS)}"
        n_cells = max(width - cell_len(words) - 1, 8)
        mark = "●" if self.is_open else " "
        name = set_cell_size(f"{mark} {short_title(info, n_cells - 2)}", n_cells)
        line = Content.assemble((name, "bold" if info.name else ""), (words, "$text-muted"))
        lines = [line.truncate(width)]
        if self.found.snippet:
            snippet = Content.assemble(
                "    ",
                *(
                    (text.replace("␊", " "), HIT if is_hit else "$text-muted")
                    for text, is_hit in self.found.snippet
                ),
            )
            lines.append(snippet.truncate(width, ellipsis=True))
        return Content("\n").join(lines)

    def render_strips(
        self, width: int, height: int | None, style: Style, options: RenderOptions
    ) -> list[Strip]:
        return self.at(width).render_strips(width, height, style, options)

    def get_optimal_width(self, rules: RulesMap, container_width: int) -> int:
        return container_width

    def get_height(self, rules: RulesMap, width: int) -> int:
        return 2 if self.found.snippet else 1


def facts(info: SessionInfo, document: Document) -> Content:
    """How much it is, and since when."""
    n_runs, n_branches = len(document.runs), len(document.leaves())
    counted = f"{n_runs:,} run{'s' * (n_runs != 1)}"
    if n_branches > 1:
        counted += f" · {n_branches:,} branches"
    if info.model:
        counted += f" · {one_line(info.model)}"
    begun = time.strftime("%d %b %Y, %H:%M", time.localtime(info.created))
    name = (f"{title(info)}\n", "bold") if info.name else ""
    return Content.assemble(
        name, (f"{info.n_chars:,} characters · {counted} · begun {begun}", "$text-muted")
    )


def excerpt(document: Document, words: list[str]) -> Content:
    """The text from the beginning, or from a bit before the words that were searched for."""
    text = printable(document.text)
    start = text.rfind("\n", 0, max((where(text, words) or 0) - 80, 0)) + 1
    stop = min(start + PREVIEW_CHARS, len(text))
    shown = Content.assemble(
        *(
            ("".join(text[i] for i in indices), "bold $primary" if is_user else "")
            for is_user, indices in groupby(range(start, stop), document.is_user)
        )
    )
    for hit in hits(text[start:stop], words):
        shown = shown.stylize(HIT, hit.start, hit.end)
    return shown
