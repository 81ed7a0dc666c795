"""The characters of a document: a tree that only grows, in columns of numbers."""

import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from itertools import chain, repeat
from typing import Any, NamedTuple

from minigpt_tui.protocol import Written

ROOT = -1
"""What the first character of every text follows."""
UNKNOWN = -1
"""The token id of a character that no model has read."""
SLID, INSIDE = 1, 2
"""Flags: the window slid for this token; the character is not its token's first."""
_UTF32 = f"utf-32-{sys.byteorder[0]}e"  # as array("I") holds it


class Author(IntEnum):
    """Who put a character where it is."""

    USER = 0
    MODEL = 1
    FORCED = 2
    """The user, by choosing among the model's candidates."""


_AUTHORS = tuple(Author)


class Origin(NamedTuple):
    """The token that a character is of, and what the model thought where it stands."""

    token_id: int
    logprob: float
    """Natural logarithm, as all of them."""
    entropy: float
    """In nats."""
    rank: int
    """1: nothing was likelier."""
    window: int
    """The tokens that the model had in view."""
    slid: bool
    author: Author
    starts: bool
    """Whether it is its token's first character."""


class Stretch(NamedTuple):
    """Characters that follow each other in the columns as they do in the text."""

    start: int
    parent: int
    """The node that `start` follows; every other node of the stretch follows the one before it."""
    depth: int
    """The characters before `start` in its text."""
    branch: int
    """The first node of the branch that it is of. A node's first child goes on with its branch,
    every later one begins a branch of its own."""


class Nodes:
    """A tree of characters. A node is its place in the columns; nothing is ever taken away.

    Columns of 26 bytes a character, so a million stay small. There is no column of parents: nearly
    every node follows the one before it, and the stretches say where not.
    """

    def __init__(self) -> None:
        self.columns: dict[str, array[Any]] = {
            "chars": array("I"),
            "authors": array("b"),
            "flags": array("b"),
            "token_ids": array("i"),
            "logprobs": array("f"),
            "entropies": array("f"),
            "ranks": array("i"),
            "windows": array("i"),
        }
        self._chars = self.columns["chars"]
        self.stretches: list[Stretch] = []
        self._starts: list[int] = []
        self._forks: dict[int, list[int]] = {}
        self._parts: dict[int, list[int]] = {}

    def __len__(self) -> int:
        return len(self._chars)

    def append(self, parent: int, tokens: Sequence[Written], author: Author) -> int:
        """Let tokens' characters follow `parent`; the last of them, or `parent` without any.

        Column by column: 50 tokens come in every thirtieth of a second.
        """
        tokens = [token for token in tokens if token.text]
        if not tokens:
            return parent
        if parent != len(self) - 1 or not self.stretches:
            self.begin(len(self), parent)
        ids, texts, logprobs, entropies, ranks, windows, slid = zip(*tokens, strict=True)
        sizes = list(map(len, texts))
        is_plain = max(sizes) == 1

        def each(values: Iterable[Any]) -> Iterable[Any]:
            """Of each character what is true of its token."""
            return values if is_plain else chain.from_iterable(map(repeat, values, sizes))

        columns = self.columns
        self._chars.frombytes("".join(texts).encode(_UTF32, "surrogatepass"))
        marks = (SLID if did else 0 for did in slid)
        if is_plain:
            columns["flags"].extend(marks)
        else:
            for mark, n in zip(marks, sizes, strict=True):
                columns["flags"].extend([mark, *repeat(mark | INSIDE, n - 1)])
        columns["authors"].extend(repeat(author, sum(sizes)))
        columns["token_ids"].extend(each(ids))
        columns["logprobs"].extend(each(logprobs))
        columns["entropies"].extend(each(entropies))
        columns["ranks"].extend(each(ranks))
        columns["windows"].extend(each(windows))
        return len(self) - 1

    def begin(self, start: int, parent: int) -> None:
        """Say that the node `start`, the next one, follows `parent`."""
        has_child = parent in self._forks or (parent + 1 < start and not self._begins(parent + 1))
        branch = start if has_child or parent == ROOT else self.stretch(parent).branch
        self._parts.setdefault(branch, []).append(len(self.stretches))
        self.stretches.append(Stretch(start, parent, self.depth(parent), branch))
        self._starts.append(start)
        self._forks.setdefault(parent, []).append(start)

    def _begins(self, node: int) -> bool:
        i = bisect_right(self._starts, node) - 1
        return i >= 0 and self._starts[i] == node

    def stretch(self, node: int) -> Stretch:
        """The stretch that a node is of."""
        return self.stretches[bisect_right(self._starts, node) - 1]

    def end(self, index: int) -> int:
        """The node after the last one of the stretch number `index`."""
        return self._starts[index + 1] if index + 1 < len(self._starts) else len(self)

    def leaf(self, branch: int) -> int:
        """The last node of a branch."""
        return self.end(self._parts[branch][-1]) - 1

    def depth(self, node: int) -> int:
        """The length of the text that ends with `node`."""
        if node == ROOT:
            return 0
        stretch = self.stretch(node)
        return stretch.depth + node - stretch.start + 1

    def children(self, node: int) -> list[int]:
        """What follows a node, the oldest first."""
        begun = self._forks.get(node, ())
        after = node + 1
        is_child = after < len(self) and not self._begins(after)
        return [after, *begun] if is_child else [*begun]

    def spans(self, node: int, start: int = 0) -> list[range]:
        """The nodes from the root, or from the index `start`, to `node`, as few ranges."""
        spans = []
        while node != ROOT:
            stretch = self.stretch(node)
            first = stretch.start + max(start - stretch.depth, 0)
            if first <= node:
                spans.append(range(first, node + 1))
            if stretch.depth <= start:
                break
            node = stretch.parent
        return spans[::-1]

    def text(self, nodes: range) -> str:
        """The characters of consecutive nodes."""
        return self._chars[nodes.start : nodes.stop].tobytes().decode(_UTF32, "surrogatepass")

    def tail(self, node: int, most: int) -> str:
        """The last characters, at most so many, of the text that ends with `node`."""
        pieces: list[str] = []
        while node != ROOT and most > 0:
            start, parent, *_ = self.stretch(node)
            first = max(start, node + 1 - most)
            pieces.append(self.text(range(first, node + 1)))
            most -= node + 1 - first
            node = parent
        return "".join(reversed(pieces))

    def common(self, one: int, other: int) -> int:
        """The length of the text that two nodes share."""
        while one != ROOT and other != ROOT:
            a, b = self.stretch(one), self.stretch(other)
            if a == b:
                return self.depth(min(one, other))
            if a.start > b.start:  # the younger one: what it follows is older
                one = a.parent
            else:
                other = b.parent
        return 0

    def own(self, branch: int) -> list[range]:
        """The nodes of a branch from its fork on, as few ranges."""
        return [range(self._starts[i], self.end(i)) for i in self._parts[branch]]

    def text_before(self, node: int, most: int) -> str:
        """The end of the text that ends right before `node`."""
        length = self.depth(node) - 1
        spans = self.spans(self.parent(node), max(length - most, 0))
        return "".join(self.text(span) for span in spans)

    def parent(self, node: int) -> int:
        """What a node follows."""
        stretch = self.stretch(node)
        return stretch.parent if node == stretch.start else node - 1

    def branch_text(self, branch: int, most: int) -> str:
        """The beginning of what a branch has of its own."""
        text = ""
        for nodes in self.own(branch):
            if len(text) == most:
                break
            text += self.text(nodes[: most - len(text)])
        return text

    def branches(self) -> Iterator[int]:
        """The first node of every branch, the oldest first."""
        return iter(self._parts)

    def authors(self, nodes: Iterable[int]) -> list[Author]:
        """Who put some characters there; 4 times as fast as asking one by one."""
        column = self.columns["authors"]
        return [_AUTHORS[column[node]] for node in nodes]

    def author(self, node: int) -> Author:
        """Who put a character there."""
        return Author(self.columns["authors"][node])

    def origin(self, node: int) -> Origin | None:
        """What is known of a character; None where no model has read it."""
        columns = self.columns
        if columns["token_ids"][node] == UNKNOWN:
            return None
        flags = columns["flags"][node]
        return Origin(
            columns["token_ids"][node],
            columns["logprobs"][node],
            columns["entropies"][node],
            columns["ranks"][node],
            columns["windows"][node],
            bool(flags & SLID),
            self.author(node),
            not flags & INSIDE,
        )
