"""The `minigpt-tui` command."""

import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from minigpt import __version__
from minigpt.errors import InputError
from minigpt.runtime.library import find_model, list_models
from minigpt.terminal import Parser, one_line, say
from minigpt_tui.database import default_path
from minigpt_tui.engine_client import EngineClient
from minigpt_tui.preferences import config_path, read

_IS_WINDOWS = os.name == "nt"


def _preferred_model(name: str) -> Path:
    try:
        return existing_model(name)
    except InputError as error:
        raise InputError(f"model = {name!r} in {config_path()}: {error}") from None


def existing_model(name: str | None) -> Path:
    """The file that a person means by a path, a name, or nothing.

    Raises:
        InputError: there is none.
    """
    path = find_model(name)
    if path.is_dir():
        from minigpt.training.metrics import METRICS

        raise InputError(
            f"{path} is a folder without a training run ({METRICS}); give a run's folder, "
            "or the .onnx file that minigpt export wrote"
        )
    if not path.exists():
        raise InputError(
            f"the model that ships with minigpt is not at {path}; give another one: "
            f"minigpt-tui MODEL.onnx; {_others()}"
        )
    return path.absolute()  # the folder may be gone when it is asked for again


def _others() -> str:
    """Which models there are, or how to come by one."""
    if names := ", ".join(model.stem for model in list_models()):
        return f"here there are {names}"
    return "here there is none yet: minigpt train learns one, minigpt export makes the file"


def run_folder(name: str | None) -> Path | None:
    """The folder of a training run, if that is what a person means."""
    if name is None:
        return None
    from minigpt.training.metrics import METRICS

    try:
        path = find_model(name, runs=True)
    except InputError:  # `existing_model` tells what there is
        return None
    return path if (path / METRICS).exists() else None


def has_terminal() -> bool:
    """Whether there is a screen to draw on and a keyboard to read from, be it in a browser."""
    if "TEXTUAL_DRIVER" in os.environ:  # textual-serve: what is drawn goes into a pipe
        return True
    screen = sys.__stdout__ if _IS_WINDOWS else sys.__stderr__  # where Textual draws
    return _is_terminal(sys.__stdin__) and _is_terminal(screen)


def _how_to_have_one() -> str:
    if _is_terminal(sys.__stdin__) and _is_terminal(sys.__stdout__):
        return "it draws on stderr: let that be one"
    return "in a pipe use: minigpt generate"


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the app; the exit code is 2 for a mistake the user can mend."""
    parser = Parser(
        prog="minigpt-tui",
        description="Meet a model in the terminal: it writes on from your words. "
        "Or watch one learn.",
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="?",
        help="a .onnx file, the name of a model (default: the one that ships with minigpt), "
        "or a training run (its folder, or its name in checkpoints/), to watch it",
    )
    parser.add_argument(
        "other_model",
        metavar="OTHER",
        nargs="?",
        help="another one: both write, side by side",
    )
    parser.add_argument(
        "--config-path", action="store_true", help="print where the preferences are kept, and end"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--inline",
        action="store_true",
        help="draw below the command line, not on the whole screen (not on Windows)",
    )
    where.add_argument(
        "--serve", action="store_true",
        help='show the app in a browser on this machine (needs: pip install ".[serve]")',
    )  # fmt: skip
    parser.add_argument("--port", type=int, help="where --serve listens (default: 8000)")
    parser.add_argument("--version", action="version", version=f"minigpt {__version__}")
    args = parser.parse_args(argv)
    if args.config_path:
        sys.stdout.write(f"{config_path()}\n")
        return 0
    try:
        preferences = read()
        watched = run_folder(args.model)
        if watched and args.other_model:
            raise InputError(f"{watched} is a training run; to watch it, give it alone")
        if watched or args.model or not preferences.model:
            model = existing_model(None if watched else args.model)
        else:
            model = _preferred_model(preferences.model)
        other_model = existing_model(args.other_model) if args.other_model else None
        if args.port is not None and not args.serve:
            raise InputError("--port is for --serve; give both, or neither")
        if args.serve:
            from minigpt_tui.serve import PORT, serve

            names = [name for name in (args.model, args.other_model) if name]
            serve(names, PORT if args.port is None else args.port)
            return 0
    except InputError as error:
        say(one_line(str(error)))
        return 2
    if args.inline and _IS_WINDOWS:
        say("--inline is not possible on Windows; minigpt-tui alone takes the whole screen")
        return 2
    if not has_terminal():
        say(f"minigpt-tui needs a terminal to draw in; {_how_to_have_one()}")
        return 2
    if _IS_WINDOWS and "TEXTUAL_DRIVER" in os.environ:
        # later it would wait for stdin, from which Textual reads by then (numpy/numpy#24290)
        import numpy  # noqa: F401
    engine = EngineClient()
    # ms that Textual waits for the rest of an escape sequence before it believes in a lone Esc;
    # too little would cut the arrow keys of a slow line in two
    os.environ.setdefault("ESCDELAY", "50")
    gc.disable()  # it would look through what is being imported, again and again; see `_settle`
    # Textual takes most of the start: meanwhile the engine starts, on another core.
    from minigpt_tui.minigpt_app import MinigptApp

    try:
        app = MinigptApp(
            engine, model, watched=watched, other_model=other_model, preferences=preferences,
            preferences_path=config_path(), sessions=default_path(),
        )  # fmt: skip
        reason = app.run(inline=args.inline)
    except InputError as error:
        say(one_line(f"{config_path()}: {error}"))
        return 2
    finally:
        engine.close()
    for sentence in (*app.last_words, *([reason] if reason else [])):
        say(one_line(sentence))
    return app.return_code or 0
