"""What is to be trained, on what, where to, and with whom."""

from dataclasses import dataclass, field
from pathlib import Path

from minigpt.config import GPTConfig, TrainConfig
from minigpt.corpus import Ids, TokenizedCorpus, check_length, split
from minigpt.errors import InputError
from minigpt.tokenizer import CharTokenizer
from minigpt.training.start import Start
from minigpt.training.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What is to be trained, on what, where to."""

    model: GPTConfig
    train: TrainConfig
    corpus: TokenizedCorpus
    folder: Path
    start: Start | None = None
    """What it begins with; None: random weights."""
    also_known: str = ""
    """Characters that the model knows besides the text's, as what it began with did."""
    world: World = field(default_factory=World)
    """This process among those that train the model together."""
    compile: bool = False
    """Whether torch.compile makes the steps faster, after half a minute's wait."""

    @property
    def name(self) -> str:
        """The folder's, which "." and ".." do not tell."""
        has_name = self.folder.name not in ("", "..")
        return self.folder.name if has_name else self.folder.resolve().name

    @property
    def tokenizer(self) -> CharTokenizer:
        """The model's: behind the text's characters, which keep their ids, come the others."""
        return CharTokenizer(self.corpus.tokenizer.chars + self.also_known)

    @property
    def parts(self) -> tuple[Ids, Ids]:
        """What is trained on, and what of the validation part is scored."""
        train, val = split(self.corpus.ids)
        scored = self.train.eval_tokens or len(val)
        return train, val[: scored + 1]  # the first one is not predicted


def check_run(run: Run) -> None:
    """Refuse what cannot be trained, before anything is written.

    Raises:
        InputError: the text is too short, or a batch cannot be shared by the processes.
    """
    check_length(run.corpus.ids, run.model.block_size, fixed=run.start is not None)
    rows, size = run.train.batch_size, run.world.size
    if rows % size:
        raise InputError(
            f"batch_size {rows} cannot be shared by {size} processes: "
            f"make it a multiple, --set batch_size={-(-rows // size) * size}"
        )
