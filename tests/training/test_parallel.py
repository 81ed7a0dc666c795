import os
import subprocess
import sys
import threading
from functools import partial

from minigpt.training.parallel import map_parallel


def doubled_at_home(home: int, number: int) -> int:
    """Twice the number; in another process than `home` it dies at 5."""
    if number == 5 and os.getpid() != home:
        os._exit(1)
    return 2 * number


def test_when_other_processes_die_this_one_goes_on() -> None:
    work = partial(doubled_at_home, os.getpid())
    assert list(map_parallel(work, range(10), 2)) == list(range(0, 20, 2))


def wait_for_ever(_: int) -> None:
    sys.stderr.write("waiting\n")
    sys.stderr.flush()
    threading.Event().wait()


def test_the_others_end_with_this_process_even_if_it_is_killed() -> None:
    code = (
        "from minigpt.training.parallel import map_parallel\n"
        "from tests.training.test_parallel import wait_for_ever\n"
        "list(map_parallel(wait_for_ever, range(9), 2))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        for _ in range(2):
            assert child.stderr.readline() == "waiting\n"
        child.kill()
        child.communicate(timeout=60)  # the pipe ends when nobody holds it any more
