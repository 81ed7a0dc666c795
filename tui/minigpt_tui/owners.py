"""The classes that have key bindings."""

from textual.app import App
from textual.dom import DOMNode

from minigpt_tui.screens.main import MainScreen
from minigpt_tui.widgets.attention_panel import AttentionPanel
from minigpt_tui.widgets.candidates_panel import CandidatesPanel
from minigpt_tui.widgets.more_row import MoreRow
from minigpt_tui.widgets.preset_row import PresetRow
from minigpt_tui.widgets.prompt import Prompt
from minigpt_tui.widgets.sampling_panel import SamplingPanel
from minigpt_tui.widgets.slider import Slider
from minigpt_tui.widgets.token_view import TokenView

AT_FIRST = (
    MainScreen, Prompt, SamplingPanel, PresetRow, MoreRow, Slider, TokenView, CandidatesPanel,
    AttentionPanel,
)  # fmt: skip
"""Those that the first screen needs."""


def around_prompt(app: type[App[str]]) -> tuple[type[DOMNode], ...]:
    """Those whose keys are for when the user writes, too."""
    from minigpt_tui.screens.ab import ABScreen

    return app, MainScreen, ABScreen, Prompt


def owners(app: type[App[str]]) -> tuple[type[DOMNode], ...]:
    """All of them, and the app's. A start without own keys need not wait for the other screens."""
    from minigpt_tui.screens.ab import ABScreen
    from minigpt_tui.screens.ask import Ask
    from minigpt_tui.screens.branches import BranchesScreen
    from minigpt_tui.screens.compare import CompareScreen
    from minigpt_tui.screens.export import ExportScreen
    from minigpt_tui.screens.help import HelpScreen
    from minigpt_tui.screens.models import ModelPicker
    from minigpt_tui.screens.note import Note
    from minigpt_tui.screens.replay import ReplayScreen
    from minigpt_tui.screens.roles import RolesScreen
    from minigpt_tui.screens.runs import RunPicker
    from minigpt_tui.screens.sessions import SessionsScreen
    from minigpt_tui.screens.watch import WatchScreen
    from minigpt_tui.widgets.branch_tree import BranchTree
    from minigpt_tui.widgets.side_by_side import SideBySide

    return (
        app, *AT_FIRST, ABScreen, BranchesScreen, CompareScreen, SessionsScreen, ReplayScreen,
        ModelPicker, RolesScreen, HelpScreen, Note, Ask, ExportScreen, RunPicker, WatchScreen,
        BranchTree, SideBySide,
    )  # fmt: skip
