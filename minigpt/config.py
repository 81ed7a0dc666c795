"""What a model is (GPTConfig), how it is trained (TrainConfig), what is told of it (ModelCard).

Every number has its home here: the command line, the training loop, the exported file and the
documentation read these dataclasses. Standard library only, so that every part can import it.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar

from minigpt.errors import InputError

Record = TypeVar("Record", "GPTConfig", "TrainConfig", "ModelCard")

ARCHITECTURES = ("gpt2", "rotary")
# Far beyond what one machine trains; they keep a hostile file from asking for all memory.
_LARGEST = {
    "n_layer": 300,  # as many as `onnx_walk` looks at, in every precision
    "n_head": 1000,
    "n_embd": 2**16,
    "block_size": 2**20,
    "vocab_size": 2**21,
}
MAX_BATCH_SIZE = 2**16
"""Windows; more than is of use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GPTConfig:
    """The shape of a GPT: everything that `model.py` and the exported graph are built from.

    Raises:
        InputError: a field is outside what the model can be built from.
    """

    arch: str = "gpt2"
    """"gpt2": learned positions. "rotary": positions enter as rotations of q and k (RoPE)."""
    n_layer: int = 4
    n_head: int = 4
    n_embd: int = 128
    block_size: int = 64
    """The context window, in tokens."""
    vocab_size: int = 65
    dropout: float = 0.0
    """Probability, in training, that a number leaving an embedding or a sub-layer is zeroed; on a
    CPU in 256ths."""
    bias: bool = True
    """Biases in LayerNorm, the projections, the MLP, and an untied head."""
    qkv_bias: bool = True
    """A bias on queries, keys and values too (GPT-2 has it, the classroom GPTs do not)."""
    tie_weights: bool = True
    """The head shares the token embedding's matrix (and then has no bias), as in GPT-2."""

    def __post_init__(self) -> None:
        if self.arch not in ARCHITECTURES:
            raise InputError(f"arch must be one of {', '.join(ARCHITECTURES)}, not {self.arch!r}")
        for name, most in _LARGEST.items():
            if not 1 <= getattr(self, name) <= most:
                raise InputError(f"{name} must be between 1 and {most}, not {getattr(self, name)}")
        # what onnxruntime's GroupQueryAttention takes, refused here rather than after the training
        multiple = 8 if self.learned_positions else 16
        if self.n_embd % (self.n_head * multiple):
            raise InputError(
                f"n_embd must be a multiple of {multiple} * n_head with arch {self.arch}, "
                f"which {self.n_embd} is not for n_head {self.n_head}"
            )
        if not 0.0 <= self.dropout < 1.0:
            raise InputError(f"dropout must be in [0, 1), not {self.dropout}")

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.n_embd // self.n_head

    @property
    def learned_positions(self) -> bool:
        """Whether positions are an embedding table (else they are rotations)."""
        return self.arch == "gpt2"

    @property
    def exported_vocab_size(self) -> int:
        """The ids of an exported file: behind the vocabulary's own comes `<|endoftext|>`.

        No text contains it and no model writes it, but the other runtimes of such files need an
        id to end and to pad with, and it must be one of the logits' columns.
        """
        return self.vocab_size + 1

    @property
    def head_bias(self) -> bool:
        """Whether the head has a bias of its own."""
        return self.bias and not self.tie_weights

    def n_params(self) -> int:
        """The number of trainable numbers, counted by hand; the model is tested to agree."""
        c, v = self.n_embd, self.vocab_size
        norm = 2 * c if self.bias else c
        attention = c * 3 * c + c * c + (3 * c if self.qkv_bias else 0) + (c if self.bias else 0)
        mlp = c * 4 * c + 4 * c * c + (4 * c + c if self.bias else 0)
        head = (0 if self.tie_weights else v * c) + (v if self.head_bias else 0)
        positions = self.block_size * c if self.learned_positions else 0
        return v * c + positions + self.n_layer * (2 * norm + attention + mlp) + norm + head


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How a model is trained. Steps are optimizer steps; a batch is `batch_size` windows."""

    max_steps: int = 2000
    batch_size: int = 32
    accumulation: int = 1
    """Batches whose gradients are averaged into one step."""
    muon_learning_rate: float = 0.02
    """Of the blocks' matrices, by Muon; 0 leaves them to AdamW."""
    momentum: float = 0.9
    """Muon's."""
    learning_rate: float = 6e-3
    """Of everything else, by AdamW."""
    warmup_steps: int = 0
    """At most a quarter of all steps is taken."""
    weight_decay: float = 0.0
    """On matrices only; biases and norms are not decayed."""
    beta1: float = 0.9
    beta2: float = 0.99
    ema_decay: float = 0.98
    """How much of the weights' running average is kept at each step, at most; the average is what
    is scored, sampled and exported. 0: the newest weights."""
    eval_interval: int = 250
    """Steps between two evaluations (and two checkpoints)."""
    eval_tokens: int = 1_000_000
    """At most so many of the validation split are predicted, from its beginning; 0 for all."""
    patience: int = 0
    """Evaluations without a new best one after which the run ends; 0 for never."""
    sample_chars: int = 120
    """Length of the sample written at each evaluation; 0 for none."""
    seed: int = 1337

    def __post_init__(self) -> None:
        for name in ("max_steps", "batch_size", "accumulation", "eval_interval"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.batch_size > MAX_BATCH_SIZE:
            raise InputError(
                f"batch_size must be at most {MAX_BATCH_SIZE}, not {self.batch_size}; accumulation "
                "makes a step of several batches"
            )
        for name in (
            "warmup_steps", "eval_tokens", "patience", "sample_chars", "seed", "weight_decay",
            "muon_learning_rate",
        ):  # fmt: skip
            if getattr(self, name) < 0:
                raise InputError(f"{name} must be at least 0, not {getattr(self, name)}")
        for f in fields(self):
            if not math.isfinite(value := getattr(self, f.name)):
                raise InputError(f"{f.name} must be a finite number, not {value}")
        if self.seed >= 2**63:
            raise InputError(f"seed must be below 2**63, not {self.seed}")
        if not self.learning_rate > 0.0:
            raise InputError(f"learning_rate must be above 0, not {self.learning_rate}")
        for name in ("beta1", "beta2", "momentum", "ema_decay"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise InputError(f"{name} must be in [0, 1), not {getattr(self, name)}")


AFTER = ", after "
"""Between the names of texts that were read one after the other, the newest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What a person should know of a trained model; it travels inside the file."""

    name: str
    corpus: str
    """What the training text is called, and what was read before it ("a.txt, after b.txt")."""
    corpus_sha256: str
    corpus_chars: int
    steps: int
    val_loss: float
    """Nats per token over the validation split, of which a training may have read but the
    beginning (`TrainConfig.eval_tokens`), in windows of block_size."""
    minigpt_version: str
    created: str = ""
    """ISO date of the export; empty in a checkpoint."""
    precision: str = "fp32"
    """Of the weights in the file."""

    @property
    def last_read(self) -> str:
        """The newest of the texts that `corpus` names."""
        return self.corpus.split(AFTER)[0]


@dataclass(frozen=True, slots=True)
class Preset:
    """A named starting point: a shape and the training that suits it."""

    summary: str
    model: GPTConfig
    train: TrainConfig


# The shape that classroom GPTs use: an untied head with a bias, no bias on q, k and v.
_CLASSROOM = GPTConfig(qkv_bias=False, tie_weights=False)

_LAPTOP = replace(_CLASSROOM, arch="rotary", bias=False)

PRESETS: Mapping[str, Preset] = {
    "tiny": Preset(
        "0.2M parameters; a few seconds a hundred steps, for a first look",
        replace(_CLASSROOM, n_layer=4, n_head=4, n_embd=64, block_size=32),
        TrainConfig(max_steps=3000),
    ),
    "laptop": Preset(
        "0.8M parameters; about 3 minutes on two cores",
        _LAPTOP,
        TrainConfig(max_steps=2000, batch_size=16, eval_interval=400),
    ),
    "evening": Preset(
        "4.8M parameters; an hour and a half on two cores without bfloat16, less with it; the "
        "larger model that ships is one",
        replace(_LAPTOP, n_layer=6, n_embd=256, block_size=256, dropout=0.15),
        # Small steps learn more from the same text: benchmarks/ablations.md.
        TrainConfig(
            max_steps=4200, batch_size=16, learning_rate=4e-3, weight_decay=0.2, eval_interval=420
        ),
    ),
    "shakespeare": Preset(
        "10.8M parameters; an hour on two cores with bfloat16, hours without, minutes on a GPU",
        replace(_CLASSROOM, n_layer=6, n_head=6, n_embd=384, block_size=256, dropout=0.2),
        # Measured with rotations and no biases, benchmarks/shakespeare-10M: 1.4228.
        TrainConfig(
            max_steps=2400, batch_size=16, learning_rate=4e-3, weight_decay=0.2, eval_interval=480
        ),
    ),
}


def fine_tuning(n_tokens: int, block_size: int, max_steps: int | None = None) -> TrainConfig:
    """How a model that has learned already learns another text: in three passes, or some steps.

    By measurement: of 90,000 characters of Python's documentation the shipped models, which know
    Shakespeare, are at their best after 2.7 and 2.8 passes, of 27,000 after 3.8.

    Args:
        n_tokens: of the text to train on.
        block_size: the model's.
        max_steps: if they are given.
    """
    batch_size = 16
    steps = max_steps or max(10, -(-3 * n_tokens // (batch_size * block_size)))
    return TrainConfig(max_steps=steps, batch_size=batch_size, eval_interval=-(-steps // 10))


def find_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        InputError: there is none; the message lists those there are.
    """
    if name not in PRESETS:
        raise InputError(f"unknown preset {name!r}; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


def to_json(record: GPTConfig | ModelCard) -> str:
    """The form stored in exported files; checkpoints have the fields themselves."""
    return json.dumps(asdict(record), sort_keys=True)


def from_json(schema: type[Record], text: str) -> Record:
    """Read what `to_json` wrote of a `schema`.

    Raises:
        InputError: not a JSON object, an unknown or missing field, or a value out of range.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"its {schema.__name__} is not valid JSON: the file is damaged") from None
    return from_fields(schema, values)


def from_fields(schema: type[Record], values: object) -> Record:
    """The record of these fields: all there, none other, each of its type.

    Raises:
        InputError: it is otherwise, or a value is out of range.
    """
    if not isinstance(values, dict):
        raise InputError(f"its {schema.__name__} is not a JSON object: the file is damaged")
    types: dict[str, Any] = {f.name: f.type for f in fields(schema)}
    if set(values) != set(types):
        wrong = sorted(set(values) ^ set(types))[0]
        raise InputError(
            f"its {schema.__name__} has other fields ({wrong!r:.40}): it was written by another "
            "version of minigpt"
        )
    checked_ones: dict[str, Any] = {k: checked(k, types[k], value) for k, value in values.items()}
    return schema(**checked_ones)


def checked(name: str, wanted: object, value: object) -> object:
    """`value` if it is of the type that is wanted; a whole number becomes a float where one is.

    Raises:
        InputError: it is of another type.
    """
    if type(value) is int:
        if abs(value) >= 2**63:
            raise InputError(f"{name} must be below 2**63, not {value!r:.40}")
        if wanted is float:
            value = float(value)
    # `type is`, not isinstance: True is an int, but not a number of layers
    if type(value) is not wanted:
        words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
        expected = words[wanted] if isinstance(wanted, type) else str(wanted)
        raise InputError(f"{name} must be {expected}, not {value!r:.40}")
    return value
