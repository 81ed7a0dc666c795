"""The model as an ONNX graph, operator by operator, beside `minigpt/model.py`, in the same order.

What an exported file computes, without its numbers: `minigpt_export.graph` puts them in, and
`onnx_file` lets in no other graph. Both read it here, so nothing in a file is a stranger's but its
numbers. (Operators that are harmless each can do harm together: 0.5 MB of weights, [65536, 1] and
[1, 65536], multiply to 16 GB while onnxruntime loads them; a hundred products of 4096 x 4096 take
more than 20 s of a load that cannot be stopped.)

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
positions count. The one id more is `<|endoftext|>`, see `GPTConfig.exported_vocab_size`: a row of
zeros in the embedding, a logit of -1e4.
"""

import math
import struct
from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

from minigpt.config import GPTConfig

FLOAT, UINT8, INT32, INT64, FLOAT16 = 1, 2, 6, 7, 10
"""Types of numbers, as TensorProto counts them."""

BYTES_OF: Mapping[int, int] = {FLOAT: 4, UINT8: 1, INT64: 8, FLOAT16: 2}
"""Of a number, for the types that weights have."""

BITS_AND_BLOCK: Mapping[str, tuple[int, int]] = {"int8": (8, 64), "int4": (4, 32)}
"""How the matrices of the blocks are stored; why, says `minigpt_export.quantize`."""
Precision = Literal["fp32", "fp16", "int8", "int4"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
LARGE_VOCABULARY = 1024
"""From here on the head has 8 bits where the blocks have 8 or 4: it would be most of the time."""

ONE = struct.pack("<q", 1)
CONSTANTS: Mapping[str, bytes] = {"axis": ONE, "one": ONE}
"""Arrays that are no weights: their numbers must be these, as stored."""

EPSILON: float = struct.unpack("<f", struct.pack("<f", 1e-5))[0]  # in the 32 bits of an attribute

CONTRIB = "com.microsoft"
CONTRIB_OPERATORS = frozenset(
    {"BiasGelu", "GroupQueryAttention", "MatMulNBits", "SkipLayerNormalization"}
)
"""Those of the domain CONTRIB; all others are ONNX's own."""

INPUTS = ("input_ids", "position_ids", "attention_mask")
"""Those of every graph; the keys and values of the past are others."""

Attribute = int | float | tuple[int, ...]


def cache_names(config: GPTConfig) -> list[str]:
    """Of the keys and values, as they stand behind "past_key_values." and "present."."""
    return [f"{i}.{side}" for i in range(config.n_layer) for side in ("key", "value")]


class Node(NamedTuple):
    """An operator at work. The domain is not said: no two have an operator of one name."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]


class Weight(NamedTuple):
    """What a stored array is, but for its name and, mostly, its numbers."""

    number_type: int
    dims: tuple[int, ...]
    n_bytes: int
    value: bytes | None
    """The numbers, as they are stored, of a constant that is the same in every file."""


class Graph:
    """The nodes in order, and the weights by name, of a model's exported graph."""

    def __init__(self, config: GPTConfig, precision: str) -> None:
        self.nodes: list[Node] = []
        self.weights: dict[str, Weight] = {}
        self._config = config
        self._precision = precision
        self._lengths()
        x = self._embedding()
        self.streams = [x]
        """What the blocks add to: its name behind the embedding, and behind every block."""
        # The norm that follows an addition is fused with it, so each block hands on two things:
        # the stream, and the stream normalised for whatever reads it next.
        normed = self._layer_norm(x, "h.0.ln_1")
        for i in range(config.n_layer):
            x, normed = self._block(i, x, normed)
            self.streams.append(x)
        self._head(normed)

    def _op(
        self, kind: str, inputs: list[str], outputs: str | list[str], **attributes: Attribute
    ) -> str:
        outputs = [outputs] if isinstance(outputs, str) else outputs
        while not inputs[-1]:  # onnxruntime crashes on some inputs that are named "" at the end
            inputs = inputs[:-1]
        self.nodes.append(Node(kind, tuple(inputs), tuple(outputs), attributes))
        return outputs[0]

    def _weight(self, name: str, *dims: int, number_type: int = FLOAT) -> str:
        n_bytes = math.prod(dims) * BYTES_OF[number_type]
        self.weights[name] = Weight(number_type, dims, n_bytes, CONSTANTS.get(name))
        return name

    def _matrix(self, name: str, *dims: int) -> str:
        """A matrix that is used as it is; as halves, cast back at load, where it is not fp32."""
        if self._precision == "fp32":
            return self._weight(name, *dims)
        if name not in self.weights:
            self._weight(name, *dims, number_type=FLOAT16)
            self._op("Cast", [name], f"{name}.fp32", to=FLOAT)
        return f"{name}.fp32"

    def _linear(self, x: str, name: str, n_in: int, n_out: int) -> str:
        """Multiply by the weight of a block's Linear, without its bias."""
        if self._precision not in BITS_AND_BLOCK:
            return self._op("MatMul", [x, self._matrix(f"{name}.weight.T", n_in, n_out)], name)
        return self._quantized(x, name, n_in, n_out, *BITS_AND_BLOCK[self._precision])

    def _quantized(self, x: str, name: str, n_in: int, n_out: int, bits: int, block: int) -> str:
        n_blocks = -(-n_in // block)
        numbers = self._weight(
            f"{name}.weight.numbers", n_out, n_blocks, block * bits // 8, number_type=UINT8
        )
        scales = self._matrix(f"{name}.weight.scales", n_out, n_blocks)
        return self._op(
            "MatMulNBits", [x, numbers, scales], name,
            N=n_out, K=n_in, bits=bits, block_size=block,
            accuracy_level=4,  # activations in 8 bits too: without it 2.3 times slower
        )  # fmt: skip

    # A bias of "" is an input left out.
    def _bias(self, name: str, n: int) -> str:
        return self._weight(name, n) if self._config.bias else ""

    def _lengths(self) -> None:
        """What GroupQueryAttention needs of the mask: how many positions count, and there are."""
        axis = self._weight("axis", 1, number_type=INT64)
        one = self._weight("one", 1, number_type=INT64)
        self._op("ReduceSum", ["attention_mask", axis], "mask_sum", keepdims=0)
        self._op("Sub", ["mask_sum", one], "last_position")
        self._op("Cast", ["last_position"], "seqlens_k", to=INT32)
        self._op("Shape", ["attention_mask"], "mask_length", start=1, end=2)
        self._op("Cast", ["mask_length"], "total_sequence_length", to=INT32)

    def _embedding(self) -> str:
        config = self._config
        wte = self._matrix("wte.weight", config.exported_vocab_size, config.n_embd)
        x = self._op("Gather", [wte, "input_ids"], "wte")
        if config.learned_positions:
            wpe = self._matrix("wpe.weight", config.block_size, config.n_embd)
            self._op("Gather", [wpe, "position_ids"], "wpe")
            x = self._op("Add", [x, "wpe"], "embedding")
        return x

    def _layer_norm(self, x: str, name: str) -> str:
        n = self._config.n_embd
        inputs = [x, self._weight(f"{name}.weight", n), self._bias(f"{name}.bias", n)]
        return self._op("LayerNormalization", inputs, name, axis=-1, epsilon=EPSILON)

    def _add_and_norm(self, x: str, added: str, bias: str, norm: str) -> tuple[str, str]:
        """The stream with `added` (and its bias) added, and that normalised, in one node."""
        n = self._config.n_embd
        inputs = [x, added, self._weight(f"{norm}.weight", n), self._bias(f"{norm}.bias", n), bias]
        outputs = [norm, "", "", f"{norm}.stream"]
        normed = self._op("SkipLayerNormalization", inputs, outputs, epsilon=EPSILON)
        return f"{norm}.stream", normed

    def _attention(self, i: int, normed: str) -> str:
        """All of CausalSelfAttention but c_proj's bias, which the next addition takes along."""
        config, name, n = self._config, f"h.{i}.attn", self._config.n_embd
        qkv = self._linear(normed, f"{name}.c_attn", n, 3 * n)
        if config.qkv_bias:
            bias = self._weight(f"{name}.c_attn.bias", 3 * n)
            qkv = self._op("Add", [qkv, bias], f"{name}.c_attn_bias")
        inputs = [qkv, "", "", f"past_key_values.{i}.key", f"past_key_values.{i}.value"]
        inputs += ["seqlens_k", "total_sequence_length"]
        if not config.learned_positions:
            half = config.head_dim // 2
            inputs += [self._weight(table, config.block_size, half) for table in ("cos", "sin")]
        y = self._op(
            "GroupQueryAttention", inputs, [name, f"present.{i}.key", f"present.{i}.value"],
            num_heads=config.n_head, kv_num_heads=config.n_head,
            do_rotary=int(not config.learned_positions),
        )  # fmt: skip
        return self._linear(y, f"{name}.c_proj", n, n)

    def _mlp(self, i: int, normed: str) -> str:
        """All of MLP but the bias of c_proj, which the next addition takes along."""
        name, n = f"h.{i}.mlp", self._config.n_embd
        wide = self._linear(normed, f"{name}.c_fc", n, 4 * n)
        if self._config.bias:
            bias = self._weight(f"{name}.c_fc.bias", 4 * n)
            wide = self._op("BiasGelu", [wide, bias], f"{name}.gelu")
        else:
            wide = self._op("Gelu", [wide], f"{name}.gelu")
        return self._linear(wide, f"{name}.c_proj", 4 * n, n)

    def _block(self, i: int, x: str, normed: str) -> tuple[str, str]:
        n, n_layer = self._config.n_embd, self._config.n_layer
        read = self._attention(i, normed)
        bias = self._bias(f"h.{i}.attn.c_proj.bias", n)
        x, normed = self._add_and_norm(x, read, bias, f"h.{i}.ln_2")
        thought = self._mlp(i, normed)
        bias = self._bias(f"h.{i}.mlp.c_proj.bias", n)
        following = f"h.{i + 1}.ln_1" if i + 1 < n_layer else "ln_f"
        return self._add_and_norm(x, thought, bias, following)

    def _head(self, normed: str) -> None:
        config = self._config
        n_in, n_out = config.n_embd, config.exported_vocab_size
        if self._precision in BITS_AND_BLOCK and n_out > LARGE_VOCABULARY:
            self._quantized(normed, "lm_head", n_in, n_out, *BITS_AND_BLOCK["int8"])
        else:
            # A tied head reads the embedding's matrix: stored twice, it would cost V*C numbers.
            # What Transpose turns, onnxruntime folds once at load.
            name = "wte.weight" if config.tie_weights else "lm_head.weight"
            matrix = self._matrix(name, n_out, n_in)
            turned = self._op("Transpose", [matrix], "lm_head.weight.T", perm=(1, 0))
            self._op("MatMul", [normed, turned], "lm_head")
        bias = self._weight("lm_head.bias", n_out)
        self._op("Add", ["lm_head", bias], "logits")
