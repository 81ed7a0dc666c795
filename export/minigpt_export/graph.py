"""The model as an ONNX graph, written op by op beside `minigpt/model.py`, in the same order.

Not traced: a traced graph has 40 to 50 small nodes a layer, of which onnxruntime fuses few, and
breaks with PyTorch's releases. By hand a layer is eight nodes (MatMul, GroupQueryAttention,
MatMul, SkipLayerNormalization; MatMul, BiasGelu, MatMul, SkipLayerNormalization), a bias on q, k
and v one more.

Inputs and outputs follow the common ground of onnxruntime-genai, optimum and transformers.js:

    input_ids, position_ids      int64   [batch_size, sequence_length]
    attention_mask               int64   [batch_size, total_sequence_length]
    past_key_values.{i}.{side}   float32 [batch_size, n_head, past_sequence_length, head_dim]
    logits                       float32 [batch_size, sequence_length, vocab_size + 1]
    present.{i}.{side}           float32 [batch_size, n_head, total_sequence_length, head_dim]

Past and present of a layer may be one buffer; the ones in the mask then say how many of its
positions count.

The one id more is `<|endoftext|>`, see `GPTConfig.exported_vocab_size`: a row of zeros in the
embedding, and a logit that never wins. A token takes 0.99 to 1.01 times as long as without it
(`laptop` and `shakespeare`, fp32 and int8, 16 rounds in turn), so there is one graph for all.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from minigpt import __version__
from minigpt.config import GPTConfig
from minigpt.model import rotary_tables
from minigpt_export.quantize import BITS_AND_BLOCK, Precision, quantize

OPSET = 21
IR_VERSION = 10  # opset 21's own; `onnx` would write the newest, which older runtimes refuse
CONTRIB = "com.microsoft"
NEVER = -1e4
"""The logit of `<|endoftext|>`: no softmax gives it anything, and it fits into 16 bits."""

Weights = Mapping[str, npt.NDArray[np.float32]]


class _Graph:
    """A graph being written: nodes and weights, in order."""

    def __init__(self, weights: Weights, precision: Precision) -> None:
        self.weights = weights
        self.precision = precision
        self.nodes: list[NodeProto] = []
        self.initializers: dict[str, TensorProto] = {}

    def op(self, kind: str, inputs: list[str], outputs: str | list[str], **attributes: Any) -> str:
        """Append a node; returns the name of its first output."""
        outputs = [outputs] if isinstance(outputs, str) else outputs
        while not inputs[-1]:  # onnxruntime crashes on some inputs that are named "" at the end
            inputs = inputs[:-1]
        domain = CONTRIB if kind in _CONTRIB_OPS else ""
        self.nodes.append(
            helper.make_node(kind, inputs, outputs, name=outputs[0], domain=domain, **attributes)
        )
        return outputs[0]

    def constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        """Store an array; returns its name."""
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def weight(self, name: str) -> str:
        """Store a weight of the model under its own name."""
        return self.constant(name, self.weights[name])

    def matrix(self, name: str, value: npt.NDArray[np.float32]) -> str:
        """Store a matrix that is used as it is; in fp16 as halves, cast back at load."""
        if self.precision != "fp16":
            return self.constant(name, value)
        if name not in self.initializers:
            self.constant(name, value.astype(np.float16))
            self.op("Cast", [name], f"{name}.fp32", to=TensorProto.FLOAT)
        return f"{name}.fp32"

    def linear(self, x: str, name: str) -> str:
        """Multiply by the weight of a block's Linear, without its bias."""
        weight = self.weights[f"{name}.weight"]  # [outputs, inputs]
        if self.precision not in BITS_AND_BLOCK:
            return self.op("MatMul", [x, self.matrix(f"{name}.weight.T", weight.T)], name)
        bits, block_size = BITS_AND_BLOCK[self.precision]
        q = quantize(weight, bits=bits, block_size=block_size)
        numbers = self.constant(f"{name}.weight.numbers", q.numbers)
        scales = self.constant(f"{name}.weight.scales", q.scales)
        return self.op(
            "MatMulNBits",
            [x, numbers, scales],
            name,
            N=weight.shape[0],
            K=weight.shape[1],
            bits=bits,
            block_size=block_size,
            accuracy_level=4,  # activations in 8 bits too: without it 2.3 times slower
        )

    def bias(self, name: str) -> str:
        """Store a bias; "" (an input left out) if the model has none."""
        return self.weight(name) if name in self.weights else ""


_CONTRIB_OPS = {"GroupQueryAttention", "SkipLayerNormalization", "BiasGelu", "MatMulNBits"}


def build_graph(config: GPTConfig, weights: Weights, precision: Precision = "fp32") -> ModelProto:
    """The ONNX model of a GPT.

    Args:
        config: its shape.
        weights: its state dict as arrays, under the names of `model.py`.
        precision: of what is stored; see `quantize`.
    """
    g = _Graph(weights, precision)
    _lengths(g)
    x = _embedding(g, config)
    # The norm that follows an addition is fused with it, so each block hands on two things: the
    # stream, and the stream normalised for whatever reads it next.
    normed = _layer_norm(g, x, "h.0.ln_1")
    for i in range(config.n_layer):
        x, normed = _block(g, config, i, x, normed)
    _head(g, config, normed)
    graph = helper.make_graph(
        g.nodes, "minigpt", _inputs(config), _outputs(config), list(g.initializers.values())
    )
    return helper.make_model(
        graph,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)],
        producer_name="minigpt",
        producer_version=__version__,
    )


def _lengths(g: _Graph) -> None:
    """What GroupQueryAttention needs of the mask: how many positions count, how many there are."""
    axis = g.constant("axis", np.array([1], np.int64))
    one = g.constant("one", np.array(1, np.int64))
    g.op("ReduceSum", ["attention_mask", axis], "mask_sum", keepdims=0)
    g.op("Sub", ["mask_sum", one], "last_position")
    g.op("Cast", ["last_position"], "seqlens_k", to=TensorProto.INT32)
    g.op("Shape", ["attention_mask"], "mask_length", start=1, end=2)
    g.op("Cast", ["mask_length"], "total_sequence_length", to=TensorProto.INT32)


def _embedding(g: _Graph, config: GPTConfig) -> str:
    x = g.op("Gather", [_with_spare_row(g, "wte.weight"), "input_ids"], "wte")
    if config.learned_positions:
        wpe = g.matrix("wpe.weight", g.weights["wpe.weight"])
        g.op("Gather", [wpe, "position_ids"], "wpe")
        x = g.op("Add", [x, "wpe"], "embedding")
    return x


def _layer_norm(g: _Graph, x: str, name: str) -> str:
    inputs = [x, g.weight(f"{name}.weight"), g.bias(f"{name}.bias")]
    return g.op("LayerNormalization", inputs, name, axis=-1, epsilon=1e-5)


def _add_and_norm(g: _Graph, x: str, added: str, bias: str, norm: str) -> tuple[str, str]:
    """The stream with `added` (and its bias) added, and that normalised, in one node."""
    inputs = [x, added, g.weight(f"{norm}.weight"), g.bias(f"{norm}.bias"), bias]
    outputs = [norm, "", "", f"{norm}.stream"]
    normed = g.op("SkipLayerNormalization", inputs, outputs, epsilon=1e-5)
    return f"{norm}.stream", normed


def _attention(g: _Graph, config: GPTConfig, i: int, normed: str) -> str:
    """All of CausalSelfAttention but the bias of c_proj, which the next addition takes along."""
    name = f"h.{i}.attn"
    qkv = g.linear(normed, f"{name}.c_attn")
    if config.qkv_bias:
        qkv = g.op("Add", [qkv, g.weight(f"{name}.c_attn.bias")], f"{name}.c_attn_bias")
    inputs = [qkv, "", "", f"past_key_values.{i}.key", f"past_key_values.{i}.value"]
    inputs += ["seqlens_k", "total_sequence_length"]
    if not config.learned_positions:
        cos, sin = (table.numpy() for table in rotary_tables(config))
        inputs += [g.constant("cos", cos), g.constant("sin", sin)]
    y = g.op(
        "GroupQueryAttention",
        inputs,
        [name, f"present.{i}.key", f"present.{i}.value"],
        num_heads=config.n_head,
        kv_num_heads=config.n_head,
        do_rotary=int(not config.learned_positions),
    )
    return g.linear(y, f"{name}.c_proj")


def _mlp(g: _Graph, config: GPTConfig, i: int, normed: str) -> str:
    """All of MLP but the bias of c_proj, which the next addition takes along."""
    name = f"h.{i}.mlp"
    wide = g.linear(normed, f"{name}.c_fc")
    if config.bias:
        wide = g.op("BiasGelu", [wide, g.weight(f"{name}.c_fc.bias")], f"{name}.gelu")
    else:
        wide = g.op("Gelu", [wide], f"{name}.gelu")
    return g.linear(wide, f"{name}.c_proj")


def _block(g: _Graph, config: GPTConfig, i: int, x: str, normed: str) -> tuple[str, str]:
    read = _attention(g, config, i, normed)
    x, normed = _add_and_norm(g, x, read, g.bias(f"h.{i}.attn.c_proj.bias"), f"h.{i}.ln_2")
    thought = _mlp(g, config, i, normed)
    following = f"h.{i + 1}.ln_1" if i + 1 < config.n_layer else "ln_f"
    return _add_and_norm(g, x, thought, g.bias(f"h.{i}.mlp.c_proj.bias"), following)


def _head(g: _Graph, config: GPTConfig, normed: str) -> None:
    # a tied head reads the embedding's matrix turned: stored twice, it would cost V*C numbers;
    # turned by Transpose, onnxruntime folds it once at load
    name = "wte.weight" if config.tie_weights else "lm_head.weight"
    matrix = g.op("Transpose", [_with_spare_row(g, name)], "lm_head.weight.T", perm=[1, 0])
    g.op("MatMul", [normed, matrix], "lm_head")
    bias = np.zeros(config.exported_vocab_size, np.float32)
    if config.head_bias:
        bias[:-1] = g.weights["lm_head.bias"]
    bias[-1] = NEVER
    g.op("Add", ["lm_head", g.constant("lm_head.bias", bias)], "logits")


def _with_spare_row(g: _Graph, name: str) -> str:
    """A matrix [V, C] with a row of zeros behind it, for `<|endoftext|>`."""
    return g.matrix(name, np.pad(g.weights[name], ((0, 1), (0, 0))))


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
        helper.make_tensor_value_info(f"{prefix}.{i}.{side}", TensorProto.FLOAT, shape)
        for i in range(config.n_layer)
        for side in ("key", "value")
    ]
