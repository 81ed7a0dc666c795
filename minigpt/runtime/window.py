"""The window of tokens that a model has in view, and how it slides when it is full.

Standard library only: the terminal app needs it before numpy is there.
"""

from collections import deque


def view_after(window: int, block_size: int) -> int:
    """How many tokens are in view of the token after one that was drawn with `window` in view.

    A text that is broken off and goes on with so many goes on as if it had not been broken off.
    """
    return window + 1 if window < block_size else max(block_size // 2, 1)


def slides_within(n_prompt: int, n_new: int, block_size: int) -> int:
    """How often the window slides while so many tokens are written after a prompt.

    >>> slides_within(6, 59, 64), slides_within(6, 60, 64), slides_within(100, 34, 64)
    (0, 1, 1)
    """
    window, slides = min(n_prompt, block_size), 0
    for _ in range(n_new - 1):
        slides += window == block_size
        window = view_after(window, block_size)
    return slides


def newest_half(window: deque[int]) -> list[int]:
    """What is kept of a full window; at least the newest token."""
    return list(window)[-max(len(window) // 2, 1) :]
