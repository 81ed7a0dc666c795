"""The app in a browser: a web server on this machine alone, through textual-serve."""

import importlib.util
import shlex
import socket
import sys
from collections.abc import Sequence

from minigpt.errors import InputError
from minigpt.terminal import say

HOST = "localhost"
"""Whoever reaches the page can read and write this user's texts, so it is for this machine only;
from another one: ssh -L 8000:localhost:8000."""


def serve(arguments: Sequence[str], port: int) -> None:
    """Serve the page until Ctrl+C; each visit is an app of its own, with the same sessions.

    Args:
        arguments: of the `minigpt-tui` that a visit starts.
        port: where to listen.

    Raises:
        InputError: textual-serve is not installed, or the port cannot be had.
    """
    if importlib.util.find_spec("textual_serve") is None:
        raise InputError(
            "--serve needs textual-serve, which is not installed; run, where you cloned minigpt: "
            "pip install -c constraints.txt '.[serve]'"
        )
    _try(port)
    from minigpt_tui.web_server import WebServer

    # -P: modules that lie about in the user's folder are not for us to import
    command = shlex.join([sys.executable, "-P", "-m", "minigpt_tui", *arguments])
    server = WebServer(command, HOST, port, "minigpt")
    say(f"minigpt-tui is at {server.public_url}; Ctrl+C ends it")
    server.serve()


def _try(port: int) -> None:
    """Listen for a moment, as an error in the server would be a traceback.

    Raises:
        InputError: it is not possible.
    """
    try:
        with socket.create_server((HOST, port)):
            pass
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot listen on port {port} ({reason}); give another one: --port 8001"
        ) from error
