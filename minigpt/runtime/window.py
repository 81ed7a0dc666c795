"""The window of tokens that a model has in view, and how it slides when it is full.

Standard library only: the terminal app needs it before numpy is there.
"""

from collections import deque


def view_after(window: int, block_size: int) -> int:
    """How many tokens are in view of the token after one that was drawn with `window` in view.

    A text that is broken off and goes on with so many goes on as if it had not been broken off.
    """
    return window + 1 if window < block_size else max(block_size // 2, 1)


def newest_half(window: deque[int]) -> list[int]:
    """What is kept of a full window; at least the newest token."""
    return list(window)[-max(len(window) // 2, 1) :]
