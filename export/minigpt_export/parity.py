"""Does the exported file say what the PyTorch model says? Measured at every export."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from minigpt.runtime.decoder import Decoder
from minigpt.runtime.generation import generate
from minigpt.runtime.onnx_graph import Precision
from minigpt.runtime.params import SamplingParams
from minigpt.tokenizer import CharTokenizer

MAX_LOSS_INCREASE: dict[Precision, float] = {
    "fp32": 0.0005,
    "fp16": 0.001,
    "int8": 0.01,
    "int4": 0.05,
}
"""Nats per token that a precision may cost on the text that is compared."""
MAX_LOGIT_DIFFERENCE = 1e-4
"""For fp32, whose greedy text must be the same too."""
GREEDY_TOKENS = 200
STEPPED_WINDOWS = 4


@dataclass(frozen=True, slots=True)
class ParityReport:
    """How far an exported file is from its model."""

    precision: Precision
    positions: int
    """Logits compared, in rows."""
    max_logit_difference: float
    mean_logit_difference: float
    """Of the largest difference in each row."""
    top1_agreement: float
    """Share of rows with the same likeliest token."""
    kl_divergence: float
    """Mean over the rows, from the model's distribution to the file's, in nats."""
    loss_before: float
    loss_after: float
    """Nats per token on the text."""
    greedy_tokens: int
    """Length of the two greedy texts."""
    first_greedy_difference: int | None
    """Where they part; None if they never do."""
    tokens_per_s: float
    """At which the file wrote its greedy text, where it was exported; without guesses."""
    graph_bytes: int = 0
    """Size of the graph and its weights; the file has tokenizer, card and this report too."""

    @property
    def passed(self) -> bool:
        """Whether the file may be used: see the constants of this module."""
        lost = self.loss_after - self.loss_before
        if not lost <= MAX_LOSS_INCREASE[self.precision]:  # NaN does not pass
            return False
        if self.precision != "fp32":
            return True
        close = self.max_logit_difference < MAX_LOGIT_DIFFERENCE
        return close and self.first_greedy_difference is None

    def to_dict(self) -> dict[str, object]:
        """For the file's metadata and for --json."""
        return asdict(self)

    def __str__(self) -> str:
        where = self.first_greedy_difference
        greedy = "identical" if where is None else f"the same up to token {where}"
        return (
            f"loss {self.loss_before:.4f} -> {self.loss_after:.4f} on {self.positions} characters "
            f"of validation text, KL {self.kl_divergence:.1e}, top-1 agrees on "
            f"{self.top1_agreement:.2%}, logits differ by at most {self.max_logit_difference:.1e} "
            f"(mean {self.mean_logit_difference:.1e}), {self.greedy_tokens} greedy tokens {greedy} "
            f"at {self.tokens_per_s:,.0f} a second"
        )


def compare(
    reference: Decoder,
    candidate: Decoder,
    tokenizer: CharTokenizer,
    ids: Sequence[int],
    precision: Precision = "fp32",
) -> ParityReport:
    """Compare two decoders on real text, read a window at a time, and on what they write.

    In the first windows the candidate reads half as a prompt and half token by token, so that both
    ways into the graph are seen. The greedy texts go past the window, so that a slide is seen too.

    Args:
        reference: usually PyTorch.
        candidate: usually the exported file.
        tokenizer: of both.
        ids: the text, some windows long, at least two tokens.
        precision: of the candidate; decides what passes.
    """
    block_size = reference.block_size
    rows: list[npt.NDArray[np.float64]] = []
    for number, start in enumerate(range(0, len(ids) - 1, block_size)):
        window = list(ids[start : start + block_size + 1])
        inputs, targets = window[:-1], window[1:]
        half = max(1, len(inputs) // 2) if number < STEPPED_WINDOWS else len(inputs)
        wanted = _logits(reference, [inputs])
        got = _logits(candidate, [inputs[:half], *([i] for i in inputs[half:])])
        rows.append(_differences(wanted, got, targets))
    largest, same, divergence, before, after = np.concatenate(rows, axis=1)
    greedy = SamplingParams(temperature=0.0, max_new_tokens=max(GREEDY_TOKENS, block_size + 50))
    texts, seconds = [], 0.0
    for decoder in (reference, candidate):
        began = time.perf_counter()
        stream = generate(decoder, tokenizer, ids[:1], lambda: greedy)
        texts.append([token.id for token in stream])
        seconds = time.perf_counter() - began  # of the candidate, in the end
    parted = [i for i, (a, b) in enumerate(zip(*texts, strict=True)) if a != b]
    return ParityReport(
        precision=precision,
        positions=len(largest),
        max_logit_difference=float(largest.max()),
        mean_logit_difference=float(largest.mean()),
        top1_agreement=float(same.mean()),
        kl_divergence=float(divergence.mean()),
        loss_before=float(before.mean()),
        loss_after=float(after.mean()),
        greedy_tokens=greedy.max_new_tokens,
        first_greedy_difference=parted[0] if parted else None,
        tokens_per_s=greedy.max_new_tokens / seconds,
    )


def _logits(decoder: Decoder, parts: Sequence[Sequence[int]]) -> npt.NDArray[np.float64]:
    decoder.rewind(0)
    return np.concatenate([decoder.feed(part).astype(np.float64) for part in parts])


def _differences(
    wanted: npt.NDArray[np.float64], got: npt.NDArray[np.float64], targets: Sequence[int]
) -> npt.NDArray[np.float64]:
    """Five numbers for each row: largest difference, same top, KL, loss before, loss after."""
    p, q = _log_softmax(wanted), _log_softmax(got)
    at = np.arange(len(targets)), list(targets)
    return np.stack(
        (
            np.abs(wanted - got).max(axis=1),
            wanted.argmax(axis=1) == got.argmax(axis=1),
            (np.exp(p) * (p - q)).sum(axis=1),
            -p[at],
            -q[at],
        )
    )


def _log_softmax(z: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    z = z - z.max(axis=1, keepdims=True)
    return np.asarray(z - np.log(np.exp(z).sum(axis=1, keepdims=True)))
