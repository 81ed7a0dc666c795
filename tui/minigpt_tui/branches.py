"""The tree of branches as lines to draw. Knows nothing of Textual."""

from collections.abc import Iterable
from dataclasses import dataclass

from minigpt_tui.document import Branch, Document, Fork
from minigpt_tui.glyphs import visible

LEVEL_CELLS = 3
MOST_LEVELS = 16
"""Of the lines that lead to a branch, the nearest: somebody who forks the newest branch again and
again is soon a thousand levels deep."""

NAMELESS_CHARS = 16


@dataclass(frozen=True, slots=True)
class Row:
    """A branch's place in the tree."""

    first: int
    """The branch's first node, by which it is known."""
    level: int
    """0 for a branch that begins with the text."""
    lines: str
    """What leads to it from the branches above, LEVEL_CELLS for each of MOST_LEVELS levels."""
    parent: int | None
    """The row of the branch that it leaves."""


def outline(tree: Iterable[Fork]) -> list[Row]:
    """One row for every branch, each below the one that it leaves.

    >>> document = Document()
    >>> for length, text in ((0, "to be"), (3, "sleep"), (5, "ing"), (3, "die")):
    ...     document.rewind(length)
    ...     document.append_user(text)
    >>> for row in outline(document.tree()):
    ...     print(row.lines + document.branch(row.first).preview)
    to be
    ├─ sleep
    │  └─ ing
    └─ die
    """
    rows: list[Row] = []
    todo: list[tuple[Fork, int, str, str, int | None]] = [
        (fork, 0, "", "", None) for fork in reversed(tuple(tree))
    ]
    while todo:
        fork, level, lines, below, parent = todo.pop()
        at = len(rows)
        rows.append(Row(fork.branch.first, level, lines, parent))
        last = len(fork.children) - 1
        for i, child in reversed(list(enumerate(fork.children))):
            corner, more = ("└─ ", "   ") if i == last else ("├─ ", "│  ")
            todo.append((child, level + 1, _cut(below + corner), _cut(below + more), at))
    return rows


def _cut(lines: str) -> str:
    return lines[-LEVEL_CELLS * MOST_LEVELS :]


def around_fork(document: Document, first: int, before: int, after: int) -> tuple[str, str]:
    """The end of what a branch shares with the one it leaves, and the beginning of its own.

    Args:
        document: the tree.
        first: the branch's first node.
        before: the most characters of the one.
        after: and of the other.
    """
    nodes = document.nodes
    return nodes.text_before(first, before), nodes.branch_text(first, after)


def called(branch: Branch) -> str:
    """The name, or for want of one the beginning."""
    if branch.name:
        return visible(branch.name, space=" ")
    text = branch.preview.strip(" ↵")
    more = "…" if len(text) > NAMELESS_CHARS else ""
    return f"“{text[:NAMELESS_CHARS].rstrip()}{more}”"
