"""The numbers of a model in the graph that `minigpt.runtime.onnx_graph` describes.

That module has the operators, beside `minigpt/model.py`; here its nodes and weights become those
of an ONNX file.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from minigpt import __version__
from minigpt.config import GPTConfig
from minigpt.model import OF_VOCABULARY, rotary_tables
from minigpt.runtime.onnx_file import OnnxFile
from minigpt.runtime.onnx_graph import (
    BITS_AND_BLOCK,
    CONSTANTS,
    CONTRIB,
    CONTRIB_OPERATORS,
    FLOAT,
    FLOAT16,
    INT64,
    UINT8,
    Graph,
    Node,
    Precision,
    cache_names,
)
from minigpt_export.quantize import QuantizedMatrix, dequantize, quantize

OPSET = 21
IR_VERSION = 10  # opset 21's own; `onnx` would write the newest, which older runtimes refuse
NEVER = -1e4
"""The logit of `<|endoftext|>`; finite, as what is infinite may become NaN in a softmax."""

OF_THE_GRAPH = frozenset({*CONSTANTS, "cos", "sin"})
"""Arrays that are no weights of the model."""

Weights = Mapping[str, npt.NDArray[np.float32]]

_NUMPY_TYPES = {FLOAT: np.float32, UINT8: np.uint8, INT64: np.int64, FLOAT16: np.float16}


def build_graph(config: GPTConfig, weights: Weights, precision: Precision = "fp32") -> ModelProto:
    """The ONNX model of a GPT.

    Args:
        config: its shape.
        weights: its state dict as arrays, under the names of `model.py`.
        precision: of what is stored; see `quantize`.
    """
    described = Graph(config, precision)
    numbers = _numbers(config, weights, precision)
    initializers = []
    for name, weight in described.weights.items():
        array = np.ascontiguousarray(numbers[name], _NUMPY_TYPES[weight.number_type])
        assert array.shape == weight.dims, f"{name} is {array.shape}, not {weight.dims}"
        initializers.append(numpy_helper.from_array(array, name))
    graph = helper.make_graph(
        [_node(node) for node in described.nodes],
        "minigpt",
        _inputs(config),
        _outputs(config),
        initializers,
    )
    return helper.make_model(
        graph,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)],
        producer_name="minigpt",
        producer_version=__version__,
    )


def read_weights(file: OnnxFile) -> dict[str, npt.NDArray[np.float32]]:
    """The weights of an exported model, under the names of `model.py`, as they were kept."""
    config, precision = file.config, file.card.precision
    graph = ModelProto.FromString(file.content).graph
    stored = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    weights: dict[str, npt.NDArray[np.float32]] = {}
    for name, array in stored.items():
        if name.endswith(".T"):
            weights[name.removesuffix(".T")] = array.T
        elif name.endswith(".numbers"):
            matrix = name.removesuffix(".numbers")
            bits, block = BITS_AND_BLOCK[precision if name.startswith("h.") else "int8"]
            width = config.n_embd * (4 if "mlp.c_proj" in name else 1)
            quantized = QuantizedMatrix(array, stored[f"{matrix}.scales"], bits, block)
            weights[matrix] = dequantize(quantized, width)
        elif not name.endswith(".scales") and name not in OF_THE_GRAPH:
            weights[name] = array.astype(np.float32)
    if not config.head_bias:
        del weights["lm_head.bias"]
    if config.tie_weights:
        weights.pop("lm_head.weight", None)  # a copy in fewer bits, of a large vocabulary
    for name in OF_VOCABULARY:  # without <|endoftext|>
        if name in weights:
            weights[name] = weights[name][:-1]
    return weights


def _node(node: Node) -> NodeProto:
    attributes: dict[str, Any] = dict(node.attributes)
    return helper.make_node(
        node.kind,
        node.inputs,
        node.outputs,
        name=node.outputs[0],
        domain=CONTRIB if node.kind in CONTRIB_OPERATORS else "",
        **attributes,
    )


def _numbers(
    config: GPTConfig, weights: Weights, precision: Precision
) -> dict[str, npt.NDArray[np.generic]]:
    """Every array that the graph may ask for, by name; those of `model.py`, and others of them."""
    numbers: dict[str, npt.NDArray[np.generic]] = {
        **weights,
        "axis": np.array([1]),
        "one": np.array([1]),
    }
    if not config.learned_positions:
        half = config.head_dim // 2  # the second one, in which no sine has a minus
        numbers["cos"], numbers["sin"] = (t[:, half:].numpy() for t in rotary_tables(config))
    spare = np.zeros((1, config.n_embd), np.float32)  # for <|endoftext|>
    head = weights["wte.weight" if config.tie_weights else "lm_head.weight"]
    numbers["wte.weight"] = np.concatenate((weights["wte.weight"], spare))
    numbers["lm_head.weight"] = np.concatenate((head, spare))
    bias = weights.get("lm_head.bias", np.zeros(config.vocab_size, np.float32))
    numbers["lm_head.bias"] = np.append(bias, np.float32(NEVER))
    matrices = {name: w for name, w in weights.items() if name.startswith("h.") and w.ndim == 2}
    for name, matrix in matrices.items():
        numbers[f"{name}.T"] = matrix.T  # [inputs, outputs]
    if precision in BITS_AND_BLOCK:
        for name, matrix in matrices.items():
            numbers |= _quantized(name, matrix, precision)
        numbers |= _quantized("lm_head.weight", np.concatenate((head, spare)), "int8")
    return numbers


def _quantized(
    name: str, matrix: npt.NDArray[np.float32], precision: Precision
) -> dict[str, npt.NDArray[np.generic]]:
    bits, block_size = BITS_AND_BLOCK[precision]
    stored = quantize(matrix, bits=bits, block_size=block_size)
    return {f"{name}.numbers": stored.numbers, f"{name}.scales": stored.scales}


def _inputs(config: GPTConfig) -> list[ValueInfoProto]:
    int64 = TensorProto.INT64
    new = ["batch_size", "sequence_length"]
    past_and_new = ["batch_size", "total_sequence_length"]
    return [
        helper.make_tensor_value_info("input_ids", int64, new),
        helper.make_tensor_value_info("attention_mask", int64, past_and_new),
        helper.make_tensor_value_info("position_ids", int64, new),
        *_caches(config, "past_key_values", "past_sequence_length"),
    ]


def _outputs(config: GPTConfig) -> list[ValueInfoProto]:
    width = config.exported_vocab_size
    logits_shape: list[str | int] = ["batch_size", "sequence_length", width]
    return [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, logits_shape),
        *_caches(config, "present", "total_sequence_length"),
    ]


def _caches(config: GPTConfig, prefix: str, length: str) -> list[ValueInfoProto]:
    shape: list[str | int] = ["batch_size", config.n_head, length, config.head_dim]
    return [
        helper.make_tensor_value_info(f"{prefix}.{name}", TensorProto.FLOAT, shape)
        for name in cache_names(config)
    ]
