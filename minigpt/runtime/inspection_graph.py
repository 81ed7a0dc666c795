"""The graph of a model file, changed to say what happens inside: any file can be looked into.

From a file that passed its checks only the weights are taken. The operators are written anew, those
of `onnx_graph` with two differences: each attention also hands out what it weighed, and the head
reads the stream behind every block where it read it behind the last alone. So nothing is exported
twice, and a file has not a byte more for being looked into.
"""

from collections.abc import Iterable, Iterator

from minigpt.config import GPTConfig
from minigpt.runtime.onnx_file import OnnxFile
from minigpt.runtime.onnx_graph import EPSILON, INPUTS, INT64, Attribute, Graph, Node
from minigpt.runtime.onnx_write import with_graph

LENS = "logits"
"""The output [n_layer + 1, sequence_length, vocab_size + 1]: the head behind every block."""

_AFTER_SOFTMAX = 2
"""What GroupQueryAttention hands out: not the scores (1), but the weights made of them."""


def inspection_graph(file: OnnxFile) -> bytes:
    """An ONNX model over a file's weights, which gives LENS and every `attention_output`."""
    outputs = [LENS, *map(attention_output, range(file.config.n_layer))]
    inputs = dict.fromkeys(INPUTS, INT64)
    return with_graph(file.content, "inspection", _nodes(file), inputs, outputs)


def attention_output(layer: int) -> str:
    """The name of the output [1, n_head, sequence_length, sequence_length] of a layer."""
    return f"h.{layer}.attn.weights"


def _nodes(file: OnnxFile) -> Iterator[Node]:
    described = Graph(file.config, file.card.precision)
    layer = 0
    for node in described.nodes:
        if node.kind == "GroupQueryAttention":
            yield _open_attention(node, layer)
            layer += 1
        elif "ln_f" in node.inputs:
            yield from _norms(file.config, described.streams)
            yield node._replace(inputs=("streams.ln_f", *node.inputs[1:]))
        else:
            yield node


def _open_attention(node: Node, layer: int) -> Node:
    qkv, key, value, _, _, *rest = node.inputs  # nothing lies before a text that is read whole
    return node._replace(
        inputs=(qkv, key, value, "", "", *rest),
        outputs=(*node.outputs, attention_output(layer)),
        attributes={**node.attributes, "qk_output": _AFTER_SOFTMAX},
    )


def _norms(config: GPTConfig, streams: Iterable[str]) -> Iterator[Node]:
    """All streams, one behind the other as if they were a batch, normalised for the head."""
    yield Node("Concat", tuple(streams), ("streams",), {"axis": 0})
    inputs = ("streams", "ln_f.weight", "ln_f.bias")[: 3 if config.bias else 2]
    attributes: dict[str, Attribute] = {"axis": -1, "epsilon": EPSILON}
    yield Node("LayerNormalization", inputs, ("streams.ln_f",), attributes)
