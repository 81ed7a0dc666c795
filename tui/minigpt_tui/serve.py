"""The app in a browser: a web server on this machine alone, through textual-serve."""

import importlib.util
import os
import secrets
import shlex
import socket
import subprocess
import sys
from collections.abc import Sequence

from minigpt.errors import InputError
from minigpt.terminal import say

HOST = "127.0.0.1"
"""Whoever reaches the page can read and write this user's texts, so it is for this machine only;
from another one: ssh -L 8000:127.0.0.1:8000."""
PORT = 8000


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
            'pip install -c constraints.txt ".[serve]"'
        )
    _try(port)
    from minigpt_tui.web_server import WebServer

    # -P: modules that lie about in the user's folder are not for us to import
    command = [sys.executable, "-P", "-m", "minigpt_tui", *arguments]
    line = subprocess.list2cmdline(command) if os.name == "nt" else shlex.join(command)
    server = WebServer(line, HOST, port, secret=secrets.token_urlsafe(16))
    say(f"minigpt-tui is at {server.address}; Ctrl+C ends it")
    server.serve()


def _try(port: int) -> None:
    """Listen for a moment, as an error in the server would be a traceback.

    Raises:
        InputError: it is not possible.
    """
    if not 1 <= port <= 65535:
        raise InputError(f"a port is a number from 1 to 65535, not {port}, as in --port 8001")
    try:
        with socket.create_server((HOST, port)):
            pass
    except OSError as error:
        raise InputError(
            f"cannot listen on port {port} ({error.strerror}); give another one: --port 8001"
        ) from error
