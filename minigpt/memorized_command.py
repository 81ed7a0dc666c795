"""`minigpt eval --memorized`: how much of what a model writes is copied from its training text."""

from dataclasses import asdict, dataclass

import numpy as np

from minigpt.corpus import Corpus, Ids, split
from minigpt.errors import InputError
from minigpt.runtime.generation import generate
from minigpt.runtime.memorization import RUNS, Copied, copied
from minigpt.runtime.model import Model
from minigpt.runtime.params import KNOBS, SamplingParams
from minigpt.terminal import one_line, say

SHOWN_CHARS = 200
"""Of the longest run, on a terminal; JSON has all of it."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a model's text shares with its training text, beside what unseen real text does."""

    model: str
    params: SamplingParams
    knows_corpus: bool
    """Whether the model's card names this very corpus as its training text."""
    written: Copied
    written_longest: str
    validation: Copied
    validation_longest: str

    def facts(self) -> dict[str, object]:
        """What --json prints."""
        return {
            "model": self.model,
            "params": {name: getattr(self.params, name) for name in KNOBS},
            "knows_corpus": self.knows_corpus,
            "written": _facts(self.written, self.written_longest),
            "validation": _facts(self.validation, self.validation_longest),
        }

    def table(self) -> str:
        """The same for people, a line a number."""
        both = (self.written, self.validation)
        rows = [
            ("", "written", "validation"),
            ("characters", *(f"{found.n_chars:,}" for found in both)),
            ("longest run", *(f"{len(found.longest):,}" for found in both)),
            ("mean run", *(f"{found.mean:.1f}" for found in both)),
            ("median run", *(f"{found.median:g}" for found in both)),
            *((f"in runs of {n}+", *(f"{found.shares[n]:.1%}" for found in both)) for n in RUNS),
        ]
        lines = [f"{name:15}{written:>12}{unseen:>12}" for name, written, unseen in rows]
        lines += [
            f"longest written: {_shown(self.written_longest)}",
            f"longest in validation: {_shown(self.validation_longest)}",
            f"Written at temperature {self.params.temperature:g} with seed {self.params.seed}. "
            "A run is a text that the training text has too;",
            "mean and median are of the longest run that ends at each character.",
            "Real text that the model has never seen shares phrases too: the validation column "
            "shows how many.",
        ]
        return "\n".join(lines)


def compare(model: Model, corpus: Corpus, ids: Ids, params: SamplingParams) -> Comparison:
    """Let the model write; look for that, and for unseen text, in the first 90% of the corpus.

    Args:
        model: writes from its start token on.
        corpus: what it was trained on; whoever gives another one is warned.
        ids: of its characters, those that the model knows.
        params: the settings of the draw; max_new_tokens are written.

    Raises:
        InputError: the model knows fewer than two characters of the corpus.
    """
    train_ids, val_ids = split(ids)
    if not len(train_ids):
        raise InputError(
            "the model knows too few characters of this text to look for them: give the text that "
            "it was trained on"
        )
    knows_corpus = model.card.corpus_sha256 == corpus.sha256
    if not knows_corpus:
        say("warning: the model's card names another training text (its sha256 differs), so what "
            "it copied from there goes unseen")  # fmt: skip
    stream = generate(
        model.decoder, model.tokenizer, model.tokenizer.start, lambda: params, draft=model.draft
    )
    written = np.array([token.id for token in stream], np.uint32)
    unseen = val_ids[: len(written)]
    if len(unseen) < len(written):
        say(f"warning: the validation part has only {len(unseen):,} characters, fewer than were "
            "written: its longest run may be shorter for that alone")  # fmt: skip
    found, yardstick = copied(written, train_ids), copied(unseen, train_ids)
    return Comparison(
        model=model.card.name,
        params=params,
        knows_corpus=knows_corpus,
        written=found,
        written_longest=model.tokenizer.decode(found.longest),
        validation=yardstick,
        validation_longest=model.tokenizer.decode(yardstick.longest),
    )


def _facts(found: Copied, longest: str) -> dict[str, object]:
    shares = {str(run): share for run, share in found.shares.items()}
    return {**asdict(found), "longest": len(longest), "longest_text": longest, "shares": shares}


def _shown(text: str) -> str:
    cut = text[:SHOWN_CHARS]
    return f'"{one_line(cut)}"' + ("" if cut == text else " and so on")
