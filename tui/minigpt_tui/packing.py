"""A document as bytes and JSON, and back: how it lies in a database."""

import json
import sys
import zlib
from array import array
from dataclasses import asdict, fields
from typing import Any

from minigpt_tui.nodes import Nodes
from minigpt_tui.protocol import params_from
from minigpt_tui.run_record import RunRecord


def pack(nodes: Nodes, start: int) -> bytes:
    """The nodes from `start` on: their number, where stretches begin, then column by column.

    Compressed to less than half, which takes 0.5 ms for the 1,500 characters of half a second; its
    checksum also notices every damaged byte.
    """
    begun = [(s.start, s.parent) for s in nodes.stretches if s.start >= start]
    head = array("i", [len(nodes) - start, len(begun), *(i for pair in begun for i in pair)])
    parts = [head, *(column[start:] for column in nodes.columns.values())]
    return zlib.compress(b"".join(_little(part).tobytes() for part in parts), 1)


def unpack(nodes: Nodes, packed: bytes) -> None:
    """Add the nodes that `pack` packed.

    Raises:
        ValueError: they do not follow those that are there, or are damaged.
    """
    try:
        data = memoryview(zlib.decompress(packed))
    except zlib.error as error:
        raise ValueError(str(error)) from None
    n_nodes, n_begun = _column("i", data[:8])
    at = 8 + 8 * n_begun
    begun = _column("i", data[8:at])
    for start, parent in zip(begun[::2], begun[1::2], strict=True):
        if not (len(nodes) <= start < len(nodes) + n_nodes and -1 <= parent < start):
            raise ValueError(f"node {start} cannot follow {parent}")
        nodes.begin(start, parent)
    for name, column in nodes.columns.items():
        end = at + n_nodes * column.itemsize
        nodes.columns[name].extend(_column(column.typecode, data[at:end]))
        at = end
    if at != len(data):
        raise ValueError(f"{len(data)} bytes where {at} were expected")


def _column(typecode: str, data: memoryview) -> "array[Any]":
    column: array[Any] = array(typecode)
    column.frombytes(data)
    return _little(column)


def _little(column: "array[Any]") -> "array[Any]":
    """The same on most machines; a database may be carried to one of the others."""
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    return column


def run_to_json(run: RunRecord) -> str:
    """A run as a JSON object; a ban is -Infinity, as Python's json writes and reads it."""
    values = {f.name: getattr(run, f.name) for f in fields(run)}
    values["params"] = asdict(run.params)
    values["changes"] = [[n_tokens, asdict(params)] for n_tokens, params in run.changes]
    return json.dumps(values)


def run_from_json(text: str) -> RunRecord:
    """The run that `run_to_json` wrote."""
    values = json.loads(text)
    values["params"] = params_from(values["params"])
    values["changes"] = [(n_tokens, params_from(params)) for n_tokens, params in values["changes"]]
    values["stops"] = tuple(values["stops"])
    return RunRecord(**values)
