"""The branches of a text: see them, name them, compare two, go to one."""

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, Vertical
from textual.content import Content
from textual.widgets import Input, Static

from minigpt_tui.branches import around_fork, called
from minigpt_tui.comparison import compare
from minigpt_tui.document import Branch, Document
from minigpt_tui.keymap import keys_of
from minigpt_tui.protocol import Opened
from minigpt_tui.screens.compare import CompareScreen
from minigpt_tui.screens.window import Window
from minigpt_tui.widgets.branch_preview import OWN_CHARS, SHARED_CHARS, BranchPreview
from minigpt_tui.widgets.branch_tree import BranchTree
from minigpt_tui.widgets.in_turn import Line
from minigpt_tui.widgets.key_line import KeyLine

GROW_S = 0.5
"""The model may be writing: how often the lengths are brought up to date."""
NAME_CHARS = 60
ALONE = "One branch. Another begins where you go on from the middle of the text."
EMPTY = "There is no text yet, and so no branch."


class BranchesScreen(Window):
    """Closes with the leaf of the branch to go to, or with None."""

    # 57: from there on the tree has room for its numbers
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (57, "-medium"), (110, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (14, "-tall")]
    DEFAULT_CSS = """
    BranchesScreen {
        #branches-head { height: 1; padding: 0 2; background: $panel; }
        #branches-hint { height: auto; padding: 1 2 0 2; color: $text-muted; }
        #branches-body { height: 1fr; layout: vertical; }
        #branches-column { height: 3fr; padding: 0 1; }
        #branches-heading { height: 1; text-align: right; padding: 0 1 0 0; color: $text-muted; }
        #branches-list { height: 1fr; layers: tree name; }
        #branches-tree { layer: tree; width: 100%; height: 100%; }
        #branches-name {
            layer: name;
            display: none;
            color: $secondary;
            background: $panel;
        }
        #branches-side { height: 2fr; border-top: solid $border-blurred; padding: 0 2 0 3; }
        #branches-about { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
        #branches-preview { height: 1fr; margin-top: 0; scrollbar-size-vertical: 1; }
    }
    BranchesScreen.-narrow #branches-heading, BranchesScreen.-low #branches-side { display: none; }
    BranchesScreen.-wide {
        #branches-body { layout: horizontal; }
        #branches-column { width: 3fr; height: 100%; }
        #branches-side {
            width: 2fr;
            height: 100%;
            padding: 1 2 0 2;
            border-top: none;
            border-left: solid $border-blurred;
        }
        #branches-preview { margin-top: 1; }
    }
    """
    BINDINGS = [
        Binding("enter", "go", "Go there", id="branches.go"),
        Binding("n,N,f2", "name", "Name", id="branches.name"),
        Binding("c,C,space", "compare", "Compare", id="branches.compare"),
        Binding("escape,f8,b,q", "close", "Close", id="branches.close"),
        Binding("f1", "app.help", "Help", id="branches.help"),
    ]

    def __init__(self, document: Document, model: Opened | None = None) -> None:
        super().__init__()
        self.document = document
        self._model = model
        self._n_nodes = len(document.nodes)

    def compose(self) -> ComposeResult:
        yield Static(id="branches-head")
        yield Static(id="branches-hint", markup=False)
        with Container(id="branches-body"):
            with Vertical(id="branches-column"):
                yield Static("leaves at → length", id="branches-heading")
                with Container(id="branches-list"):
                    yield BranchTree(self.document, id="branches-tree")
                    yield Line(
                        id="branches-name", compact=True, max_length=NAME_CHARS,
                        placeholder="a name; empty takes it away",
                    )  # fmt: skip
            with Vertical(id="branches-side"):
                yield Static(id="branches-about", markup=False)
                yield BranchPreview(id="branches-preview")
        yield KeyLine()

    @property
    def tree_view(self) -> BranchTree:
        return self.query_one(BranchTree)

    @property
    def _is_naming(self) -> bool:
        return bool(self.query_one(Input).display)

    def on_mount(self) -> None:
        self.tree_view.focus()
        self._show()
        self.set_interval(GROW_S, self._grow)

    def _grow(self) -> None:
        if self._n_nodes != len(self.document.nodes):
            was_empty, self._n_nodes = not self._n_nodes, len(self.document.nodes)
            self.tree_view.grow()
            self._show_head()
            if was_empty:
                self._show()
                self.tree_view.focus()

    def _show(self) -> None:
        self._show_head()
        if (branch := self.tree_view.branch) is not None:
            self._preview(branch)

    def _show_head(self) -> None:
        tree = self.tree_view
        n, is_marked, keys = len(tree.rows), tree.marked is not None, keys_of(self)
        leave, choose = keys["branches.close"], keys["branches.compare"]
        legend = (
            (f"Enter sets the name, {leave} leaves it as it was", "bold") if self._is_naming
            else (f"◆ to compare it, press {choose} on another one", "bold") if is_marked
            else (self._shown(), "$text-muted")
        )  # fmt: skip
        self.query_one("#branches-head", Static).update(
            Content.assemble(("Branches", "bold $primary"), f"  {n:,}    ", legend)
        )
        hint = self.query_one("#branches-hint", Static)
        hint.display = n < 2
        hint.update(ALONE if n else EMPTY)
        self.query_one("#branches-body").display = n > 0

    def _shown(self) -> str:
        """What ● means: after an undo, only the beginning of that branch is shown."""
        if not self.tree_view.rows:
            return ""
        n = len(self.document)
        length = self.document.branch(self.document.current_branch).length
        return "● the text shown" if n == length else f"● shown: {n:,} of {length:,} characters"

    def _preview(self, branch: Branch) -> None:
        at = self.tree_view.rows[self.tree_view.at].parent
        left = None if at is None else self.document.branch(self.tree_view.rows[at].first)
        about = [("● " if branch.is_current else "", "bold $primary"), (called(branch), "bold")]
        if left is not None:
            where = f"  leaves {called(left)} at character {branch.fork + 1:,}"
            about.append((where, "$text-muted"))
        self.query_one("#branches-about", Static).update(Content.assemble(*about))
        self.query_one(BranchPreview).show(
            *around_fork(self.document, branch.first, SHARED_CHARS, OWN_CHARS)
        )

    @on(BranchTree.Highlighted)
    def _follow(self, message: BranchTree.Highlighted) -> None:
        self._preview(message.branch)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in {"go", "name", "compare"} and self.is_mounted:
            return not self._is_naming and self.tree_view.branch is not None
        return True

    # going there

    @on(BranchTree.Chosen)
    def action_go(self) -> None:
        if (branch := self.tree_view.branch) is not None:
            # where the text already ends there is nothing to do, and a run may go on
            self.dismiss(None if branch.leaf == self.document.head else branch.leaf)

    def action_close(self) -> None:
        if self._is_naming:
            self._end_naming()
        elif self.tree_view.marked is not None:
            self._mark(None)
        else:
            self.dismiss(None)

    # naming

    def action_name(self) -> None:
        tree, name = self.tree_view, self.query_one(Input)
        if (branch := tree.branch) is None:
            return
        name.value = branch.name
        name.display = True
        self._place_name()
        tree.disabled = True  # it would scroll away from under the name
        name.focus()
        self._show_head()

    def _place_name(self) -> None:
        tree, name = self.tree_view, self.query_one(Input)
        tree.show_highlighted()
        offset, cells = tree.label_region()
        name.styles.offset = offset
        name.styles.width = cells

    def on_resize(self) -> None:
        if self._is_naming:
            self.call_after_refresh(self._place_name)

    @on(Input.Submitted)
    def _set_name(self, message: Input.Submitted) -> None:
        if (branch := self.tree_view.branch) is not None:
            self.document.name(branch.leaf, message.value.strip())
        self._end_naming()

    def _end_naming(self) -> None:
        self.query_one(Input).display = False
        self.tree_view.disabled = False
        self.tree_view.focus()
        self._show()

    # comparing

    def action_compare(self) -> None:
        """The first time marks a branch, the second time compares it with another one."""
        tree = self.tree_view
        if (branch := tree.branch) is None:
            return
        if len(tree.rows) == 1:
            self.notify("There is only one branch, and so none to compare it with.", markup=False)
        elif tree.marked is None:
            self._mark(branch.first)
        elif tree.marked == branch.first:
            self._mark(None)
        else:
            marked = self.document.branch(tree.marked)
            self._mark(None)
            comparison = compare(self.document, marked, branch, self._model)
            self.app.push_screen(CompareScreen(comparison))

    def _mark(self, first: int | None) -> None:
        self.tree_view.mark(first)
        self._show_head()
