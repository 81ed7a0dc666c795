import sys
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from minigpt.runtime.params import SamplingParams
from minigpt_tui.document import Author, Document, Fork
from minigpt_tui.protocol import Score, Written
from minigpt_tui.run_record import RunRecord


def written(text: str, token_id: int = 1) -> Written:
    return Written(token_id, text, -0.5, 1.5, 2, 3, False)


def forked() -> Document:
    """'Once upon a time' by the model, and 'Once more' by the user."""
    document = Document()
    document.append_user("Once ")
    document.append_tokens(tuple(written(c) for c in "upon a time"))
    document.rewind(5)
    document.append_user("more")
    return document


def test_knows_who_wrote_each_character() -> None:
    document = Document()
    document.append_user("ab")
    document.append_tokens(
        (Written(7, "c", -0.5, 1.0, 1, 3, False), Written(8, "de", -1.5, 2.0, 2, 4, True))
    )
    document.append_forced(written("f"))
    assert document.text == "abcdef"
    assert [document.is_user(i) for i in range(6)] == [True, True, *[False] * 4]
    assert document.author(5) is Author.FORCED
    assert document.origin(4) == (8, -1.5, 2.0, 2, 4, True, Author.MODEL, False)
    assert document.origin(0) is None


def test_what_is_known_of_typed_characters_is_kept() -> None:
    document = Document()
    document.append_user("abc", (None, Score(4, -2.0, 1.0, 9, 1)))
    assert document.text == "abc"
    assert document.origin(0) is document.origin(2) is None
    assert document.origin(1) == (4, -2.0, 1.0, 9, 1, False, Author.USER, True)


def test_clearing_changes_the_version() -> None:
    document = Document()
    document.append_user("ab")
    before = document.version
    document.rewind(0)
    assert (document.text, len(document)) == ("", 0)
    assert document.version != before
    document.append_token(Written(1, "x", 0.0, 0.0, 1, 1, False))
    assert not document.is_user(0)


def test_writing_on_from_the_middle_makes_a_branch() -> None:
    document = forked()
    assert document.text == "Once more"
    old, new = document.leaves()
    assert (old.preview, old.fork, old.length, old.is_current) == (
        "Once upon a time",
        0,
        16,
        False,
    )
    assert (new.preview, new.fork, new.length, new.is_current) == ("more", 5, 9, True)
    assert document.text_of(old.leaf) == "Once upon a time"
    assert document.common(old.leaf, new.leaf) == 5


def test_a_forced_character_that_is_there_is_not_made_twice() -> None:
    document = Document()
    document.append_forced(written("a"))
    document.append_user("b")
    document.rewind(0)
    document.append_forced(written("a"))
    assert (document.text, len(document.nodes)) == ("a", 2)
    document.rewind(0)
    document.append_forced(written("a", token_id=2))
    assert (document.text, len(document.nodes)) == ("a", 3)


def test_names_stay_with_a_branch_that_grows() -> None:
    document = forked()
    old, new = document.leaves()
    document.name(new.leaf, "impatient")
    document.append_user("!")
    document.checkout(old.leaf)
    document.append_user(".")
    assert [(b.name, b.length) for b in document.leaves()] == [("", 17), ("impatient", 10)]


def test_undo_goes_back_act_by_act_and_redo_forth() -> None:
    document = Document()
    seen = [document.text]
    for text in ("a", "b", "c"):
        document.mark()
        document.append_user(text)
        document.append_token(written("~"))
        seen.append(document.text)
    document.mark()  # for an act that came to nothing
    for text in reversed(seen[:-1]):
        document.undo()
        assert document.text == text
    assert not document.can_undo
    for text in seen[1:]:
        document.redo()
        assert document.text == text
    assert not document.can_redo


def test_what_is_done_after_an_undo_ends_redo() -> None:
    document = Document()
    document.mark()
    document.append_user("a")
    document.undo()
    document.mark()
    document.append_user("b")
    assert not document.can_redo
    document.redo()
    assert document.text == "b"


def test_a_run_knows_what_it_wrote() -> None:
    document = Document()
    document.append_user("ab")
    run = document.begin_run(SamplingParams(seed=3), stops=("\n",), model_name="small")
    document.append_tokens((written(""), written("cd"), written("e")))
    expected = RunRecord(1, 1, 2, SamplingParams(seed=3), stops=("\n",), model_name="small")
    expected.n_tokens, expected.first, expected.n_chars = 3, 2, 3
    assert run == expected
    document.rewind(1)
    assert document.text_of_run(run) == "cde"
    assert document.text_of(run.head) == "ab"


def test_ten_thousand_forks_make_no_recursion() -> None:
    document = Document()
    document.append_user("a")
    for _ in range(10_000):
        document.append_user("ab")
        document.rewind(len(document) - 1)
    assert sys.getrecursionlimit() < 10_000
    (trunk,) = document.tree()
    depth, level = 0, [trunk]
    while level:
        depth, level = depth + 1, [child for fork in level for child in fork.children]
    assert depth == 10_000
    assert document.text == "a" * 10_001
    first, *_, last = document.leaves()
    assert document.common(first.leaf, last.leaf) == 2


@pytest.mark.parametrize("text", ["🙂", "\x00", "\ud83d", "é\u0301"])
def test_any_character_comes_back(text: str) -> None:
    document = Document()
    document.append_user("-" + text)
    document.rewind(1)
    document.append_user(text)
    assert document.text == "-" + text
    assert document.text_of(document.leaves()[0].leaf) == "-" + text


TEXTS = st.text("ab\n🙂", min_size=1, max_size=4)


class AnyDocument(RuleBasedStateMachine):
    """A Document beside the obvious tree: a record for every character."""

    def __init__(self) -> None:
        super().__init__()
        self.document = Document()
        self.parents: list[int] = []
        self.known: list[tuple[str, Author, int | None]] = []
        self.names: dict[int, str] = {}
        self.head = -1
        self.undos: list[int] = []
        self.redos: list[int] = []

    def children(self, node: int) -> list[int]:
        return [child for child, parent in enumerate(self.parents) if parent == node]

    def path(self, node: int) -> list[int]:
        path = []
        while node >= 0:
            path.append(node)
            node = self.parents[node]
        return path[::-1]

    def text(self, node: int) -> str:
        return "".join(self.known[n][0] for n in self.path(node))

    def leaf(self, node: int) -> int:
        while children := self.children(node):
            node = children[0]
        return node

    def firsts(self) -> list[int]:
        """Every node that is not its parent's first child, and the very first."""
        return [n for n, p in enumerate(self.parents) if p == -1 or self.children(p)[0] != n]

    def add(self, text: str, author: Author, token_id: int | None) -> None:
        for char in text:
            self.parents.append(self.head)
            self.known.append((char, author, token_id))
            self.head = len(self.parents) - 1

    @rule(text=TEXTS, scores=st.lists(st.none() | st.integers(0, 3), max_size=5))
    def type(self, text: str, scores: list[int | None]) -> None:
        self.document.append_user(
            text, [None if i is None else Score(i, -1.0, 1.0, 1, 1) for i in scores]
        )
        for i, char in enumerate(text):
            self.add(char, Author.USER, scores[i] if i < len(scores) else None)

    @rule(texts=st.lists(TEXTS | st.just(""), max_size=3), token_id=st.integers(0, 3))
    def write(self, texts: list[str], token_id: int) -> None:
        self.document.append_tokens(tuple(written(text, token_id) for text in texts))
        self.add("".join(texts), Author.MODEL, token_id)

    @rule(char=st.sampled_from("ab"), token_id=st.integers(0, 1))
    def force(self, char: str, token_id: int) -> None:
        self.document.append_forced(written(char, token_id))
        for child in self.children(self.head):
            if self.known[child] == (char, Author.FORCED, token_id):
                self.head = child
                return
        self.add(char, Author.FORCED, token_id)

    @rule(share=st.floats(0, 1))
    def rewind(self, share: float) -> None:
        length = round(share * len(self.document))
        self.document.rewind(length)
        self.head = [-1, *self.path(self.head)][length]

    @precondition(lambda self: self.parents)
    @rule(share=st.floats(0, 1))
    def check_out(self, share: float) -> None:
        leaves = sorted(self.leaf(first) for first in self.firsts())
        self.head = leaves[round(share * (len(leaves) - 1))]
        self.document.checkout(self.head)

    @precondition(lambda self: self.parents)
    @rule(share=st.floats(0, 1), name=st.sampled_from(["", "x", "y"]))
    def name(self, share: float, name: str) -> None:
        firsts = self.firsts()
        first = firsts[round(share * (len(firsts) - 1))]
        self.names[first] = name
        self.document.name(self.leaf(first), name)

    @rule()
    def mark(self) -> None:
        self.document.mark()
        self.undos.append(self.head)
        self.redos.clear()

    @rule()
    def undo(self) -> None:
        self.document.undo()
        self.go_back(self.undos, self.redos)

    @rule()
    def redo(self) -> None:
        self.document.redo()
        self.go_back(self.redos, self.undos)

    def go_back(self, heads: list[int], others: list[int]) -> None:
        while heads and heads[-1] == self.head:
            heads.pop()
        if heads:
            others.append(self.head)
            self.head = heads.pop()

    @invariant()
    def shows_the_path_to_the_head(self) -> None:
        document, path = self.document, self.path(self.head)
        assert document.head == self.head
        assert document.text == self.text(self.head)
        for i, node in enumerate(path):
            origin = document.origin(i)
            token_id = None if origin is None else origin.token_id
            assert (document.text[i], document.author(i), token_id) == self.known[node]
        for i in range(len(path) + 1):
            parent = path[i - 1] if i else -1
            assert document.nodes.children(parent) == self.children(parent)

    @invariant()
    def knows_the_branches(self) -> None:
        firsts = self.firsts()
        branches = self.document.leaves()
        assert [b.first for b in branches] == firsts
        assert [b.leaf for b in branches] == [self.leaf(first) for first in firsts]
        assert [b.name for b in branches] == [self.names.get(first, "") for first in firsts]
        assert [b.fork for b in branches] == [len(self.path(first)) - 1 for first in firsts]
        assert [b.length for b in branches] == [len(self.text(b.leaf)) for b in branches]
        assert [self.document.text_of(b.leaf) for b in branches] == [
            self.text(b.leaf) for b in branches
        ]
        assert sum(b.is_current for b in branches) == bool(branches)
        for one, other in pairwise(branches):
            shared = set(self.path(one.leaf)) & set(self.path(other.leaf))
            assert self.document.common(one.leaf, other.leaf) == len(shared)

    @invariant()
    def hangs_every_branch_where_it_leaves_another(self) -> None:
        by_first = {b.first: b for b in self.document.leaves()}
        found = []
        level: list[tuple[set[int], Fork]] = [({-1}, fork) for fork in self.document.tree()]
        while level:
            above, fork = level.pop()
            found.append(fork.branch.first)
            assert fork.branch == by_first[fork.branch.first]
            assert self.parents[fork.branch.first] in above
            own = set(self.path(fork.branch.leaf)) - set(self.path(fork.branch.first)[:-1])
            level += [(own, child) for child in fork.children]
        assert sorted(found) == sorted(by_first)


TestAnyDocument = AnyDocument.TestCase
TestAnyDocument.settings = settings(max_examples=60, stateful_step_count=30)
