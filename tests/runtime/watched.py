"""What Python opens, starts or connects to, noted by an audit hook; and files opened under it.

A hook cannot be removed, so tests start this as a program:

    python -m tests.runtime.watched door GOOD.onnx BAD.onnx...
    python -m tests.runtime.watched onnx GOOD.onnx BAD.onnx...

It prints a list with, for each bad file, why it was refused and what was opened meanwhile. The
first form asks minigpt's door, the second the onnx package, which reads external data. The door
itself is Python and hashlib alone, so a hook of Python sees all that it could open.
"""

import json
import sys
from pathlib import Path
from typing import Any

from minigpt.errors import InputError
from minigpt.runtime.onnx_file import open_onnx

WATCHED = ("open", "os.", "socket.", "subprocess.", "ctypes.", "import", "mmap.", "shutil.")


def watch(noted: list[str]) -> None:
    """From now on note in `noted` what Python opens; this cannot be undone."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(WATCHED):
            noted.append(f"{event} {arguments[0] if arguments else ''}")

    sys.addaudithook(hook)


def main(reader: str, good: Path, *bad: Path) -> None:
    if reader == "onnx":
        import onnx

        read: Any = onnx.load
    else:
        read = open_onnx
    read(good)  # so that nothing is imported later
    noted: list[str] = []
    watch(noted)
    found = []
    for path in bad:
        noted.clear()
        try:
            read(path)
            sentence = ""
        except InputError as error:
            sentence = str(error)
        found.append({"sentence": sentence, "opened": [*noted]})
    print(json.dumps({"files": found, "onnxruntime": "onnxruntime" in sys.modules}))


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
