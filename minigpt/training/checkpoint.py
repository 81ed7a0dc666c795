"""A run on disk: one file a checkpoint, whole or not at all, and never a damaged one unnoticed.

A folder holds `last` and `previous` (everything needed to go on) and `best` (the weights with the
lowest validation loss). Each is one safetensors file, no pickle, whose header carries one JSON
text with everything else. In that text is a checksum of the whole file, computed with 64 zeros in
the checksum's place, so that a flipped bit anywhere, header and padding included, is found.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from minigpt import __version__
from minigpt.config import GPTConfig, ModelCard, TrainConfig, from_fields
from minigpt.errors import InputError
from minigpt.files import open_atomically, read_bytes
from minigpt.model import GPT
from minigpt.runtime.onnx_file import CARD_KEY
from minigpt.tokenizer import CharTokenizer

FORMAT = 2
LAST, PREVIOUS, BEST = "last.safetensors", "previous.safetensors", "best.safetensors"
TO_GO_ON = (LAST, PREVIOUS)
TO_USE = (BEST, LAST, PREVIOUS)
"""Which files serve which purpose, in order of preference."""

_NO_SUM = "0" * 64
_KEY = "minigpt"  # safetensors writes several metadata keys in random order, so there is one
_OPTIMIZER = "optimizer/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the same run has other numbers by: in their last bits, or in what dropout leaves out."""

    torch_version: str = str(torch.__version__)
    threads: int = field(default_factory=torch.get_num_threads)
    """Of torch on the CPU: sums differ in their last bits with their number."""
    processes: int = 1
    """Each has its own part of a batch, and dropout of its own."""
    compiled: bool = False
    """By torch.compile, whose dropout is another one."""
    sharded: bool = False
    """Each process held a part of the model: the gradient's norm is added up otherwise."""
    device: str | None = "cpu"
    """"cpu", or the GPU's name: each adds up in its own order. None: an older checkpoint."""
    bfloat16: bool | None = False
    """Whether the steps multiply in it. None: an older checkpoint."""

    def difference(self, before: "Machine") -> str:
        """What is known to have changed since, to be shown; "" if nothing."""
        then, now = asdict(before), asdict(self)
        changed = [k for k in now if then[k] is not None and now[k] != then[k]]
        return ", ".join(f"{k} {then[k]} -> {now[k]}" for k in changed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Everything a run is after some step."""

    model: GPTConfig
    train: TrainConfig
    tokenizer: CharTokenizer
    card: ModelCard
    """Its `steps` is how far the run is, its `val_loss` the last one measured."""
    excerpt: str
    """Where the validation part begins: real text for an export to be compared on."""
    draft: str
    """Guesses at what comes next, for the exported file: see `runtime/draft.py`."""
    best_val_loss: float
    evaluations_since_best: int
    """Of those before `steps`: when `patience` runs out must not depend on where a run stopped."""
    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    """As `optim.state_tensors` gives it, averages too; empty in `best`, whose weights they are."""
    machine: Machine = field(default_factory=Machine)


def save(checkpoint: Checkpoint, path: Path, *, keep_old_as: Path | None = None) -> None:
    """Write a checkpoint; where an older one is kept, at every instant one of them is whole.

    Raises:
        InputError: the folder is not writable or the disk is full; older files stay as they were.
    """
    content = _to_bytes(checkpoint)
    checksum = _checksum([content])
    with open_atomically(path, keep_old_as=keep_old_as) as file:
        for piece in _with_another(_NO_SUM, checksum, content):
            file.write(piece)


def load(path: Path) -> Checkpoint:
    """Read and check one checkpoint file.

    Raises:
        InputError: it is missing, damaged, not ours, or of a newer minigpt.
    """
    content = read_bytes(path, "a checkpoint that minigpt train wrote")
    try:
        # validated before anything is built from it
        info = json.loads(_header(content)["__metadata__"][_KEY])
        written_format, given = info["format"], str(info["checksum"])
    except (ValueError, KeyError, TypeError, RecursionError):
        why = "it was cut short, or is another file"
        if CARD_KEY.encode() in content:
            why = "it is exported already; give the folder of its run"
        raise InputError(f"{path} is not a whole checkpoint of minigpt: {why}") from None
    if written_format != FORMAT:
        raise InputError(
            f"{path} has format {written_format!r:.20}, this minigpt reads {FORMAT}: "
            "it is damaged, or another minigpt wrote it"
        )
    if _checksum(_with_another(given, _NO_SUM, content)) != given:
        raise InputError(f"{path} is damaged: its content does not match its checksum")
    try:
        return _from_parts(info, safetensors.torch.load(content))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (SafetensorError, KeyError, TypeError, ValueError, OverflowError):
        raise InputError(f"{path} was not written by minigpt train: it lacks parts") from None


def _from_parts(info: dict[str, Any], tensors: dict[str, Tensor]) -> Checkpoint:
    weights = {k: v for k, v in tensors.items() if not k.startswith(_OPTIMIZER)}
    checkpoint = Checkpoint(
        model=from_fields(GPTConfig, info["model"]),
        # older ones know no average
        train=from_fields(TrainConfig, {"ema_decay": 0.0, **info["train"]}),
        tokenizer=CharTokenizer.from_json(json.dumps(info["tokenizer"])),
        card=from_fields(ModelCard, info["card"]),
        excerpt=str(info["excerpt"]),
        draft=str(info["draft"]),
        best_val_loss=float(info["best_val_loss"]),
        evaluations_since_best=int(info["evaluations_since_best"]),
        weights=weights,
        optimizer={
            k.removeprefix(_OPTIMIZER): v for k, v in tensors.items() if k.startswith(_OPTIMIZER)
        },
        machine=Machine(
            torch_version=str(info["torch"]),
            threads=int(info["threads"]),
            # older ones do not tell
            processes=int(info.get("processes", 1)),
            compiled=bool(info.get("compiled", False)),
            sharded=bool(info.get("sharded", False)),
            device=None if info.get("device") is None else str(info["device"]),
            bfloat16=None if info.get("bfloat16") is None else bool(info["bfloat16"]),
        ),
    )
    if not 0 <= checkpoint.card.steps <= checkpoint.train.max_steps:
        raise InputError(f"its run cannot be at step {checkpoint.card.steps}")
    # before a model is built: a config may ask for more memory than there is
    n_params = sum(tensor.numel() for tensor in weights.values())
    if (checkpoint.model.n_params(), checkpoint.model.vocab_size) != (
        n_params,
        checkpoint.tokenizer.vocab_size,
    ):
        raise InputError("its config, weights and tokenizer are not of one model")
    return checkpoint


def load_first(path: Path, names: Sequence[str]) -> tuple[Checkpoint, list[str]]:
    """The first checkpoint of a folder that is whole, or the file itself if `path` is one.

    Args:
        path: a run's folder, or one checkpoint file.
        names: which of the folder's files to try, in order.

    Returns:
        The checkpoint, and a sentence for each file that was refused before it.

    Raises:
        InputError: there is none, or all are damaged.
    """
    if not path.is_dir():
        return load(path), []
    refused: list[str] = []
    for candidate in (path / name for name in names):
        if not candidate.is_file():
            continue
        try:
            return load(candidate), refused
        except InputError as error:
            refused.append(str(error))
    if refused:
        raise InputError("; ".join(refused))
    inside = [file for pattern in ("*.onnx", "onnx/*.onnx") for file in sorted(path.glob(pattern))]
    meant = f"; a model file in it: {inside[0]}" if inside else ""
    raise InputError(
        f"{path} has no checkpoint: it is not a folder that minigpt train wrote{meant}"
    )


def check_one_run(folder: Path, found: Checkpoint) -> None:
    """See that the other checkpoints of a folder, where they are whole, are of the same run.

    Raises:
        InputError: one of them has another config, text or tokenizer.
    """
    for name in TO_USE:
        path = folder / name
        try:
            other = load(path)
        except InputError:
            continue
        if _of_run(other) != _of_run(found):
            raise InputError(
                f"{path} is of another run than the checkpoint to go on from: move it, or the "
                f"others in {folder}, elsewhere"
            )


def _of_run(checkpoint: Checkpoint) -> tuple[object, ...]:
    card = checkpoint.card
    return checkpoint.model, checkpoint.train, checkpoint.tokenizer, card.corpus_sha256


def _to_bytes(checkpoint: Checkpoint) -> bytes:
    """The file, with zeros for its checksum."""
    info = {
        "format": FORMAT,
        "minigpt": __version__,
        "torch": checkpoint.machine.torch_version,
        "threads": checkpoint.machine.threads,
        "processes": checkpoint.machine.processes,
        "compiled": checkpoint.machine.compiled,
        "sharded": checkpoint.machine.sharded,
        "device": checkpoint.machine.device,
        "bfloat16": checkpoint.machine.bfloat16,
        "model": asdict(checkpoint.model),
        "train": asdict(checkpoint.train),
        "tokenizer": json.loads(checkpoint.tokenizer.to_json()),
        "card": asdict(checkpoint.card),
        "excerpt": checkpoint.excerpt,
        "draft": checkpoint.draft,
        "best_val_loss": checkpoint.best_val_loss,
        "evaluations_since_best": checkpoint.evaluations_since_best,
        "checksum": _NO_SUM,
    }
    tensors = checkpoint.weights | {_OPTIMIZER + k: v for k, v in checkpoint.optimizer.items()}
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {_KEY: json.dumps(info, sort_keys=True)}
    content: bytes = safetensors.torch.save(on_cpu, metadata=metadata)
    return content


def _header(content: bytes) -> dict[str, Any]:
    """The safetensors header: its length in 8 bytes, then JSON."""
    length = int.from_bytes(content[:8], "little")
    if length > len(content) - 8:
        raise ValueError("the header is longer than the file")
    header: dict[str, Any] = json.loads(content[8 : 8 + length])
    return header


def _field(checksum: str) -> bytes:
    """The checksum's place: JSON within JSON, so its quotes are escaped once.

    No text inside the card can look like it, as that one's quotes are escaped twice.
    """
    return json.dumps(f'"checksum": "{checksum}"')[1:-1].encode()


def _with_another(old: str, new: str, content: bytes) -> list[bytes | memoryview]:
    """The content with another checksum, in pieces: a copy takes a fourth of a save's time."""
    view, at = memoryview(content), content.find(_field(old))
    return [view[:at], _field(new), view[at + len(_field(old)) :]] if at >= 0 else [view]


def _checksum(pieces: Sequence[bytes | memoryview]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def build_model(checkpoint: Checkpoint) -> GPT:
    """The model of a checkpoint, to be used: of the averaged weights; on the CPU, in eval mode."""
    model = GPT(checkpoint.model)
    averages = checkpoint.optimizer
    load_weights(
        model, {name: averages.get(f"{name}/ema", w) for name, w in checkpoint.weights.items()}
    )
    return model.eval()


def model_weights(model: GPT) -> dict[str, Tensor]:
    """The weights by name; a tied head's, which are the embedding's, once."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def load_weights(model: GPT, weights: Mapping[str, Tensor]) -> None:
    """Put back what `model_weights` took out.

    Raises:
        InputError: names or shapes are not the model's.
    """
    own = model_weights(model)
    if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in weights.items()}:
        raise InputError("the weights are not those of a model of this config")
    for name, tensor in own.items():
        tensor.copy_(weights[name])
