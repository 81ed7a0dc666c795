"""The text as data: what is shown, saved and handed to the model. Knows nothing of Textual."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from minigpt.runtime.params import SamplingParams
from minigpt_tui.glyphs import visible
from minigpt_tui.nodes import ROOT, UNKNOWN, Author, Nodes, Origin
from minigpt_tui.protocol import Score, Written
from minigpt_tui.run_record import RunRecord

__all__ = ["Author", "Branch", "Document", "Fork", "Origin"]

_PREVIEW = 40


@dataclass(frozen=True, slots=True)
class Branch:
    """One way through the tree, from the root to a leaf."""

    leaf: int
    name: str
    """As given by the user, or empty."""
    fork: int
    """The length of the text that it shares with the branch it leaves."""
    length: int
    preview: str
    """How it goes on from there, safe to show, on one line."""
    is_current: bool
    first: int
    """Its first node of its own, by which it stays known while it grows."""


@dataclass(frozen=True, slots=True)
class Fork:
    """A branch and the branches that leave it."""

    branch: Branch
    children: tuple["Fork", ...]


class Document:
    """A tree of texts, of which one is shown: the one that ends with the node `head`.

    Nothing is ever deleted. Writing on from the middle of the text begins another branch.

    >>> document = Document()
    >>> document.append_user("ab")
    >>> document.append_token(Written(7, "c", -0.5, 1.0, 2, 3, False))
    >>> document.text, document.origin(0), document.origin(2).token_id
    ('abc', None, 7)
    >>> document.rewind(2)
    >>> document.append_user("x")
    >>> document.text, [branch.preview for branch in document.leaves()]
    ('abx', ['abc', 'x'])
    """

    def __init__(self) -> None:
        self.nodes = Nodes()
        self.head = ROOT
        self.text = ""
        self.version = 0
        """Changes whenever characters are taken away; appending leaves it."""
        self.runs: list[RunRecord] = []
        self.names: dict[int, str] = {}
        """By the first node of a branch."""
        self.undone_to: list[int] = []
        """Heads that undo goes back to, the next one last."""
        self.redone_to: list[int] = []
        self._path = array("i")

    def __len__(self) -> int:
        return len(self.text)

    # Writing

    def append_user(self, text: str, scores: Sequence[Score | None] = ()) -> None:
        """Add what the user wrote.

        Args:
            text: the characters.
            scores: what is known of them, one a character; those beyond its end are unknown.
        """
        tokens = [
            Written(UNKNOWN, char, 0.0, 0.0, 0, 0, False)
            if score is None
            else Written(score.id, char, *score[1:], False)
            for char, score in zip(text, scores, strict=False)
        ]
        tokens.append(Written(UNKNOWN, text[len(tokens) :], 0.0, 0.0, 0, 0, False))
        self._append(tokens, Author.USER)

    def append_token(self, token: Written) -> None:
        """Add what the model wrote."""
        self.append_tokens((token,))

    def append_tokens(self, tokens: tuple[Written, ...]) -> None:
        """Add what the model wrote in the newest run; the text is copied once, not once a token."""
        first = len(self.nodes)
        self._append(tokens, Author.MODEL)
        if self.runs:
            run = self.runs[-1]
            run.n_tokens += len(tokens)
            run.n_chars += len(self.nodes) - first
            if run.first == UNKNOWN and run.n_chars:
                run.first = first

    def append_forced(self, token: Written) -> None:
        """Add a candidate that the user chose; where it was chosen before, go there."""
        for node in self.nodes.children(self.head):
            origin, end = self.nodes.origin(node), node + len(token.text)
            if (
                self.nodes.author(node) is Author.FORCED
                and origin is not None
                and origin.starts
                and origin.token_id == token.id
                and self.nodes.text(range(node, end)) == token.text
            ):
                self.checkout(end - 1)
                return
        self._append((token,), Author.FORCED)

    def begin_run(
        self,
        params: SamplingParams,
        *,
        window: int = 0,
        stops: tuple[str, ...] = (),
        not_first: str = "",
        model_name: str = "",
        model_sha256: str = "",
    ) -> RunRecord:
        """Note that a model writes on from here; `append_tokens` counts what it writes."""
        run = RunRecord(
            len(self.runs) + 1,
            self.head,
            len(self),
            params,
            window,
            stops,
            not_first,
            model_name,
            model_sha256,
        )
        self.runs.append(run)
        return run

    def _append(self, tokens: Sequence[Written], author: Author) -> None:
        first = len(self.nodes)
        self.head = self.nodes.append(self.head, tokens, author)
        new = range(first, len(self.nodes))
        self._path.extend(new)
        self.text += self.nodes.text(new)

    # Moving in the tree

    def rewind(self, length: int) -> None:
        """Show only the first `length` characters; the others stay in the tree."""
        if length < len(self):
            self.head = self._path[length - 1] if length else ROOT
            del self._path[length:]
            self.text = self.text[:length]
            self.version += 1

    def checkout(self, node: int) -> None:
        """Show the text that ends with `node`, of a `Branch.leaf` for one."""
        if node == self.head:
            return
        spans = self.nodes.spans(node)
        self.head = node
        self.text = "".join(self.nodes.text(span) for span in spans)
        self._path = array("i")
        for span in spans:
            self._path.extend(span)
        self.version += 1

    def mark(self) -> None:
        """Remember the head: call it before whatever the user should be able to undo."""
        self.undone_to.append(self.head)
        self.redone_to.clear()

    @property
    def can_undo(self) -> bool:
        """Whether `undo` would change what is shown."""
        return any(head != self.head for head in reversed(self.undone_to))

    @property
    def can_redo(self) -> bool:
        """Whether something was undone and nothing marked since."""
        return any(head != self.head for head in reversed(self.redone_to))

    def undo(self) -> None:
        """Go back to where the last mark was made; marks that would change nothing are passed."""
        self._go_back(self.undone_to, self.redone_to)

    def redo(self) -> None:
        """Take back an undo."""
        self._go_back(self.redone_to, self.undone_to)

    def _go_back(self, heads: list[int], others: list[int]) -> None:
        while heads:
            if (head := heads.pop()) != self.head:
                others.append(self.head)
                self.checkout(head)
                return

    # What is known of the text that is shown

    def is_user(self, index: int) -> bool:
        """Whether the user typed the character at `index`."""
        return self.author(index) is Author.USER

    def authors(self, start: int, end: int) -> list[Author]:
        """Who put the characters from `start` up to `end` there."""
        return self.nodes.authors(self._path[start:end])

    def author(self, index: int) -> Author:
        """Who put the character at `index` there."""
        return self.nodes.author(self._path[index])

    def words(self, until: int) -> tuple[int, int]:
        """The places where the last words of the user's begin and end that begin before a place.

        They are the same place where there are none.
        """
        authors = self.authors(0, len(self))
        end = until
        while end and authors[end - 1] is not Author.USER:
            end -= 1
        start = end
        while start and authors[start - 1] is Author.USER:
            start -= 1
        while start < end < len(authors) and authors[end] is Author.USER:
            end += 1
        return start, end

    def origin(self, index: int) -> Origin | None:
        """What a model thought of the character at `index`; None where none has read it."""
        return self.nodes.origin(self._path[index])

    def spans(self, start: int = 0) -> list[range]:
        """The nodes of the shown text from the index `start` on, as few ranges."""
        return self.nodes.spans(self.head, start)

    # The branches

    def leaves(self) -> list[Branch]:
        """All branches, the oldest first."""
        return [self.branch(first) for first in self.nodes.branches()]

    def tree(self) -> tuple[Fork, ...]:
        """The branches that begin at the root, each with those that leave it."""
        # children are younger than what they leave: from the youngest on, each is complete
        children: dict[int, list[Fork]] = {}
        for branch in reversed(self.leaves()):
            fork = Fork(branch, tuple(reversed(children.pop(branch.first, []))))
            parent = self.nodes.stretch(branch.first).parent
            left = ROOT if parent == ROOT else self.nodes.stretch(parent).branch
            children.setdefault(left, []).append(fork)
        return tuple(reversed(children.get(ROOT, [])))

    def name(self, leaf: int, name: str) -> None:
        """Call a branch something; an empty name takes it away. It stays while the branch grows."""
        first = self.nodes.stretch(leaf).branch
        self.names.pop(first, None)
        if name:
            self.names[first] = name

    def common(self, one: int, other: int) -> int:
        """The length of the text that two leaves share."""
        return self.nodes.common(one, other)

    def text_of(self, leaf: int) -> str:
        """The text that ends with a node."""
        return "".join(self.nodes.text(span) for span in self.nodes.spans(leaf))

    def text_of_run(self, run: RunRecord) -> str:
        """What a run has written."""
        return self.nodes.text(range(run.first, run.first + run.n_chars)) if run.n_chars else ""

    def shown_runs(self) -> list[RunRecord]:
        """The runs of which something is in the text."""
        spans = self.spans()
        return [run for run in self.runs if any(run.first in span for span in spans)]

    @property
    def last_run(self) -> RunRecord | None:
        """The newest of them; rather one that has yet to write, or never did, where the text ends.

        None: no model has written here.
        """
        if self.runs and not self.runs[-1].n_chars and self.runs[-1].head == self.head:
            return self.runs[-1]
        shown = self.shown_runs()
        return shown[-1] if shown else None

    @property
    def current_branch(self) -> int:
        """The first node of the branch that is shown; that of the empty text is the oldest."""
        return 0 if self.head == ROOT else self.nodes.stretch(self.head).branch

    def branch(self, first: int) -> Branch:
        """The branch that begins with a node, as it is now."""
        leaf = self.nodes.leaf(first)
        return Branch(
            leaf,
            self.names.get(first, ""),
            self.nodes.stretch(first).depth,
            self.nodes.depth(leaf),
            visible(self.nodes.branch_text(first, _PREVIEW), space=" "),
            first == self.current_branch,
            first,
        )
