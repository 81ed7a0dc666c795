"""The `minigpt` command: what becomes of its arguments, and of its errors.

stdout carries the product (text, or JSON), stderr the talk. A mistake that the user can mend is
one sentence on stderr and exit code 2.
"""

import os
import sys
from collections.abc import Sequence

from minigpt.arguments import make_parser, parse
from minigpt.errors import NO_VISUAL_C, InputError
from minigpt.terminal import one_line, say, set_up_streams, while_read

EXIT_INPUT_ERROR = 2
EXIT_INTERRUPTED = 130

LIBRARY_MISSING = (126, 1114)
"""Windows' numbers for it; PyTorch lets them through."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    # Before numpy is imported: its BLAS would start threads, which takes 50 ms, for nothing. On
    # Linux for ARM, PyTorch has the same one, and would obey.
    if not (hasattr(os, "uname") and os.uname().machine == "aarch64"):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    set_up_streams()
    try:
        parser = make_parser()
        arguments = parse(parser, argv)
        if not hasattr(arguments, "run"):
            parser.print_help(sys.stderr)
            return EXIT_INPUT_ERROR
        with while_read():
            code: int = arguments.run(arguments)
            sys.stdout.flush()
    except InputError as error:
        say(one_line(f"minigpt: {error}"))
        return EXIT_INPUT_ERROR
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "onnx", "safetensors", "matplotlib", "minigpt_export"):
            raise
        say(
            f"minigpt: `minigpt {arguments.command}` needs {error.name}, which is not installed; "
            'run, where you cloned minigpt: pip install -c constraints.txt ".[train]"'
        )
        return EXIT_INPUT_ERROR
    except ImportError as error:
        if "DLL load failed" not in str(error):
            raise
        say(f"minigpt: {NO_VISUAL_C}")
        return EXIT_INPUT_ERROR
    except BrokenPipeError:
        # the reader went away (`| head`); Python would complain once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a full disk, a folder that is not ours: the machine, not a bug
        if getattr(error, "winerror", None) in LIBRARY_MISSING:
            say(f"minigpt: {NO_VISUAL_C}")
            return EXIT_INPUT_ERROR
        say(one_line(f"minigpt: {error.filename or 'cannot write'}: {error.strerror}"))
        return EXIT_INPUT_ERROR
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return code


if __name__ == "__main__":
    raise SystemExit(main())
