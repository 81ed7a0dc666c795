"""What model files say of themselves, read without onnxruntime. No Textual here."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from minigpt.config import GPTConfig, ModelCard
from minigpt.errors import InputError
from minigpt.runtime.library import list_models
from minigpt.terminal import one_line

LABEL_CELLS = 11


@dataclass(frozen=True, slots=True)
class Card:
    """A model file; one that was refused has no config and no card, but the reason."""

    path: Path
    config: GPTConfig | None
    card: ModelCard | None
    checksum: str = ""
    refusal: str = ""

    @property
    def loss(self) -> float:
        """Of the model; infinite for a file that is none, so that it comes last."""
        return self.card.val_loss if self.card else float("inf")

    @property
    def text(self) -> str:
        """Facts, a line each, or why there are none."""
        if self.config is None or self.card is None:
            return self.refusal
        return facts(self.path, self.config, self.card)


def read_card(path: Path) -> Card:
    """Read a file's card, or why it is refused. For a thread: some 10 ms, the first time 200.

    A file that has not changed is read once.
    """
    try:
        found = path.stat()
    except OSError as error:
        return Card(path, None, None, refusal=f"cannot read {path}: {error.strerror}")
    return _read(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=1000)
def _read(path: Path, mtime_ns: int, size: int) -> Card:
    # it imports numpy, for which a start need not wait
    from minigpt.runtime import onnx_file

    try:
        return Card(path, *onnx_file.read_card(path))
    except InputError as error:
        return Card(path, None, None, refusal=str(error))


def find(checksum: str) -> Path | None:
    """The listed model of that checksum, if there is one. For a thread, as `read_card`."""
    if not checksum:  # that of no file, as of one that was refused
        return None
    found = (path for path in list_models() if read_card(path).checksum == checksum)
    return next(found, None)


def facts(path: Path, config: GPTConfig, card: ModelCard) -> str:
    """What is known of a model, a line each; nothing in it commands a terminal."""
    n_params = config.n_params()
    count = f"{n_params / 1e6:.1f} million" if n_params >= 1e5 else f"{n_params:,}"
    rows = (
        ("corpus", card.corpus),
        ("", f"{card.corpus_chars:,} characters"),
        ("loss", f"{card.val_loss:.3f} nats (validation)"),
        ("trained", f"{card.steps:,} steps"),
        ("parameters", count),
        ("layers", f"{config.n_layer} × {config.n_embd}, {config.n_head} heads, {config.arch}"),
        ("window", f"{config.block_size:,} tokens"),
        ("precision", card.precision),
        ("size", size(path)),
        ("date", card.created or "unknown"),
    )
    return "\n".join(f"{label:<{LABEL_CELLS}}{one_line(value)}" for label, value in rows)


def size(path: Path) -> str:
    """How large a file is, or that it is gone."""
    try:
        return f"{path.stat().st_size / 1e6:.1f} MB"
    except OSError:
        return "gone"
