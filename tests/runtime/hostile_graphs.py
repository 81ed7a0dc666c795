"""Graphs that are wrong but whose checksum is right, opened and run: a child process.

A native crash would end the test run with it, so the tests start this as a program:

    python -m tests.runtime.hostile_graphs MODEL.onnx HOW_MANY SEED

It prints how many graphs ended in the one sentence that is allowed, and how many ran.
"""

import json
import random
import sys
import tempfile
from pathlib import Path

import onnx

from minigpt.errors import InputError
from minigpt.runtime.library import load
from minigpt.runtime.onnx_file import HASH_KEY, TEXT_KEYS, content_hash


def mutate(graph: onnx.GraphProto, rng: random.Random) -> None:
    """One accident: to an attribute, an input, an operator, a weight's shape or bytes, a shape."""
    node = rng.choice([each for each in graph.node if each.input])
    tensor = rng.choice(graph.initializer)
    names = [name for n in graph.node for name in (*n.input, *n.output)]
    at = rng.randrange(len(node.input))
    match rng.randrange(10):
        case 0:
            for attribute in node.attribute:
                attribute.i = rng.choice([0, 1, -1, 2, 16, 2**31, -(2**40), attribute.i + 1])
                attribute.f = rng.choice([0.0, -1.0, 1e30, float("nan")])
        case 1:
            node.input[at] = rng.choice([*names, ""])
        case 2:
            del node.input[at]
        case 3:
            for axis in range(len(tensor.dims)):
                size = tensor.dims[axis]
                tensor.dims[axis] = rng.choice([0, 1, -1, size, 2 * size, size // 2, 2**40])
        case 4:
            tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data) + 1)]
        case 5:
            node.op_type = rng.choice(graph.node).op_type
        case 6:
            node.input.append(rng.choice([each.name for each in graph.initializer]))
        case 7 | 8:  # all that the door leaves to a stranger: NaN, infinities, any number
            tensor.raw_data = rng.randbytes(len(tensor.raw_data))
        case _:
            value = rng.choice([*graph.input, *graph.output])
            for dim in value.type.tensor_type.shape.dim:
                dim.dim_value = rng.choice([1, 2, 5, 16])


def main(model: Path, how_many: int, seed: int) -> None:
    """Open and run so many wrong graphs; anything but an InputError is not caught."""
    whole = onnx.load(str(model))
    ended = {"refused": 0, "ran": 0}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hostile.onnx"
        for number in range(how_many):
            rng = random.Random(f"{seed} {number}")
            proto = onnx.ModelProto()
            proto.CopyFrom(whole)
            for _ in range(rng.randint(1, 2)):
                mutate(proto.graph, rng)
            texts = {entry.key: entry.value for entry in proto.metadata_props}
            graph = proto.graph.SerializeToString(deterministic=True)
            for entry in proto.metadata_props:
                if entry.key == HASH_KEY:
                    entry.value = content_hash(graph, *(texts[key] for key in TEXT_KEYS))
            path.write_bytes(proto.SerializeToString())
            try:
                for _ in load(path).generate("abc", max_new_tokens=20):
                    pass
                ended["ran"] += 1
            except InputError:
                ended["refused"] += 1
    print(json.dumps(ended))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
