"""`map` over several processes."""

import multiprocessing
import signal
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
                processes, multiprocessing.get_context("spawn"), initializer=_leave_ctrl_c_alone
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


def _leave_ctrl_c_alone() -> None:
    """It reaches all processes of a terminal; the one that started the others ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
