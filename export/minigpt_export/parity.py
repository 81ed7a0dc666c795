"""Does the exported graph say what the PyTorch model says? Checked at every export."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minigpt.runtime.generation import Decoder, generate
from minigpt.runtime.params import SamplingParams
from minigpt.tokenizer import CharTokenizer

MAX_LOGIT_DIFFERENCE = 1e-4
GREEDY_TOKENS = 200


@dataclass(frozen=True, slots=True)
class ParityReport:
    """How far two decoders are apart."""

    positions: int
    """Logits compared, in rows."""
    max_logit_difference: float
    mean_logit_difference: float
    top1_agreement: float
    """Share of rows with the same likeliest token."""
    greedy_tokens: int
    """Length of the two greedy texts."""
    first_greedy_difference: int | None
    """Where they part; None if they never do."""

    @property
    def passed(self) -> bool:
        """Whether the export may be used: see the two constants of this module."""
        close = self.max_logit_difference < MAX_LOGIT_DIFFERENCE
        return close and self.first_greedy_difference is None

    def __str__(self) -> str:
        where = self.first_greedy_difference
        greedy = "identical" if where is None else f"different from token {where} on"
        return (
            f"logits differ by at most {self.max_logit_difference:.1e} "
            f"(mean {self.mean_logit_difference:.1e}) over {self.positions} positions, "
            f"top-1 agrees on {self.top1_agreement:.2%}, "
            f"{self.greedy_tokens} greedy tokens {greedy}"
        )


def compare(
    reference: Decoder, candidate: Decoder, tokenizer: CharTokenizer, ids: Sequence[int]
) -> ParityReport:
    """Compare two decoders on real text, read a window at a time, and on what they write.

    Each window is read as a prompt and then token by token, so that both ways into the graph are
    seen. The greedy texts go past the window, so that a slide is seen too.

    Args:
        reference: usually PyTorch.
        candidate: usually the exported file.
        tokenizer: of both.
        ids: the text, some windows long, at least one token.
    """
    differences, agreements = [], []
    for start in range(0, len(ids), reference.block_size):
        window = list(ids[start : start + reference.block_size])
        half = max(1, len(window) // 2)
        wanted = _logits(reference, [window])
        got = _logits(candidate, [window[:half], *([i] for i in window[half:])])
        differences.append(np.abs(wanted - got).max(axis=1))
        agreements.append(wanted.argmax(axis=1) == got.argmax(axis=1))
    greedy = SamplingParams(
        temperature=0.0, max_new_tokens=max(GREEDY_TOKENS, reference.block_size + 50)
    )
    texts = [
        [token.id for token in generate(decoder, tokenizer, ids[:1], lambda: greedy)]
        for decoder in (reference, candidate)
    ]
    parted = [i for i, (a, b) in enumerate(zip(*texts, strict=True)) if a != b]
    return ParityReport(
        positions=len(ids),
        max_logit_difference=float(np.concatenate(differences).max()),
        mean_logit_difference=float(np.concatenate(differences).mean()),
        top1_agreement=float(np.concatenate(agreements).mean()),
        greedy_tokens=greedy.max_new_tokens,
        first_greedy_difference=parted[0] if parted else None,
    )


def _logits(
    decoder: Decoder, parts: Sequence[Sequence[int]]
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    decoder.rewind(0)
    return np.concatenate([decoder.feed(part).copy() for part in parts])
