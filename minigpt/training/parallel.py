"""`map` over several processes."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def map_parallel(
    work: Callable[[Task], Result], tasks: Sequence[Task], processes: int
) -> Generator[Result]:
    """`map`, by several processes; by this one alone where they cannot be had, or die.

    Args:
        work: a function of a module, or a `partial` of one; tasks and results are pickled.
        tasks: what it is called with.
        processes: how many; each imports the main module of the program, but does not run it.

    Yields:
        The results in the order of the tasks. What `work` raises is raised in that order too. To
        end early, close the generator: what has not begun is dropped.
    """
    n_done = 0
    if processes > 1 and len(tasks) > 1:
        try:
            # started afresh: a fork of a process that has threads, as PyTorch's, may hang
            pool = ProcessPoolExecutor(
                processes, multiprocessing.get_context("spawn"), initializer=_follow_parent
            )
            try:
                for result in pool.map(work, tasks):
                    n_done += 1
                    yield result
            finally:
                pool.shutdown(cancel_futures=True)
        except (BrokenProcessPool, ImportError, NotImplementedError, OSError):
            pass
    yield from map(work, tasks[n_done:])


def _follow_parent() -> None:
    """Live as long as the process that started this one, however it ends."""
    # reaches all processes of a terminal, but is the parent's to act on
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # one that is killed can end nobody, and its orphans would wait for work for ever
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
