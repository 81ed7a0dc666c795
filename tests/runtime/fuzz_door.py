"""Mutations of a model file, checked by the door: a child process that notes what it opens.

    python -m tests.runtime.fuzz_door MODEL.onnx HOW_MANY SEED

Every fourth has its checksum mended, so that what comes behind the checksum is met too. It
prints how many of both kinds were refused, each with the one sentence that is allowed, and every
file, socket or program that Python opened meanwhile. Any other exception ends it.
"""

import json
import random
import sys
from pathlib import Path

from minigpt.errors import InputError
from minigpt.runtime.onnx_file import HASH_KEY, TEXT_KEYS, check_onnx, content_hash
from minigpt.runtime.onnx_walk import Walk
from tests.runtime.watched import watch


def mutated(content: bytes, rng: random.Random) -> bytes:
    """One to three accidents: flipped bits, bytes lost, doubled, swapped, overwritten, cut off."""
    out = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(out))
        to = min(len(out), at + rng.choice((1, 2, 4, 16, 200)))
        match rng.randrange(7):
            case 0:
                out[at] ^= 1 << rng.randrange(8)
            case 1:
                del out[at:to]
            case 2:
                out[at:at] = out[at:to]
            case 3:
                other = rng.randrange(len(out))
                out[at:to] = out[other : other + to - at]
            case 4:
                out[at:to] = rng.randbytes(to - at)
            case 5:
                out[at:at] = rng.choice((b"\xff" * 10, b"\x00", b"\x7f\xff", b"\x3a\x00"))
            case _:
                del out[at:]
        out = out or bytearray(b"\0")
    return bytes(out)


def field(number: int, content: bytes) -> bytes:
    """A field of bytes as protobuf writes it."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def sealed(graph: bytes, metadata: dict[str, str]) -> bytes:
    """A model file of these parts whose checksum is right."""
    checksum = content_hash(graph, *(metadata[key] for key in TEXT_KEYS))
    entries = metadata | {HASH_KEY: checksum}
    head = b"\x08\x0a" + field(8, b"\x0a\x00\x10\x15")  # IR version 10, opset 21
    head += field(8, field(1, b"com.microsoft") + b"\x10\x01")
    return (
        head
        + field(7, graph)
        + b"".join(
            field(14, field(1, key.encode()) + field(2, text.encode()))
            for key, text in entries.items()
        )
    )


class Source:
    """The parts of a good file, and bad files made of them."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        found = Walk().model(memoryview(content))
        assert found.graph is not None
        self._graph, self._metadata = bytes(found.graph), found.metadata

    def mutation(self, rng: random.Random, *, mend: bool) -> bytes:
        if not mend:
            return mutated(self._content, rng)
        key = rng.choice((None, *TEXT_KEYS))  # None: the graph
        if key is None:
            return sealed(mutated(self._graph, rng), self._metadata)
        text = mutated(self._metadata[key].encode(), rng).decode(errors="replace")
        return sealed(self._graph, self._metadata | {key: text})


def main(model: Path, how_many: int, seed: int) -> None:
    source = Source(model.read_bytes())
    path = Path("x.onnx")
    check_onnx(path, model.read_bytes())  # so that nothing is imported later
    refused = {"damaged": 0, "sealed": 0}
    noted: list[str] = []
    watch(noted)
    for number in range(how_many):
        rng = random.Random(f"{seed} {number}")
        mend = number % 4 == 0
        content = source.mutation(rng, mend=mend)
        try:
            check_onnx(path, content)
        except InputError as error:
            refused["sealed" if mend else "damaged"] += len(str(error).splitlines())
    print(json.dumps({**refused, "opened": noted, "onnxruntime": "onnxruntime" in sys.modules}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
