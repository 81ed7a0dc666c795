"""What several tests share: a text, a small model, its exported file, a scripted decoder."""

import copy
import os
import signal
from collections.abc import Sequence
from pathlib import Path

# Before torch is imported: on models this small a second thread costs more than it does.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import settings

from minigpt.config import GPTConfig, ModelCard
from minigpt.corpus import Corpus, pydoc_corpus, read_corpus
from minigpt.runtime.decoder import check_feed, check_rewind
from minigpt.runtime.distribution import Logits
from minigpt.runtime.draft import Draft
from minigpt.tokenizer import CharTokenizer

# A run that a shell has put in the background ignores Ctrl-C, and so would what is tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples on every run, and no stop-watch: machines are noisy.
settings.register_profile("minigpt", deadline=None, derandomize=True, database=None)
settings.load_profile("minigpt")

SMALL = GPTConfig(n_layer=2, n_head=2, n_embd=16, block_size=16, vocab_size=5)

SMALL_DRAFT = Draft.from_text(np.array([0, 1, 2, 3, 4, 2, 0, 1] * 72), 5).to_text()

CARD = ModelCard(
    name="small",
    corpus="letters",
    corpus_sha256="0" * 64,
    corpus_chars=5,
    steps=0,
    val_loss=1.6,
    minigpt_version="0.1.0",
)


@pytest.fixture(scope="session")
def shakespeare() -> Corpus:
    """Tiny Shakespeare, from the folder that MINIGPT_DATA names."""
    path = Path(os.environ.get("MINIGPT_DATA", "")) / "tinyshakespeare.txt"
    if not path.is_file():
        pytest.skip("MINIGPT_DATA names no folder with tinyshakespeare.txt")
    return read_corpus([path])


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    """Some real text: tiny Shakespeare's beginning, or Python's documentation without it."""
    path = Path(os.environ.get("MINIGPT_DATA", "")) / "tinyshakespeare.txt"
    whole = read_corpus([path]) if path.is_file() else pydoc_corpus()
    return Corpus(whole.name, whole.text[:20_000])


@pytest.fixture
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training as on machines without bfloat16."""
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: False, raising=False)


@pytest.fixture
def text_file(tmp_path: Path, corpus: Corpus) -> Path:
    """`corpus` as a file."""
    path = tmp_path / "book.txt"
    path.write_text(corpus.text, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def small_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights over the characters "abcde", exported."""
    pytest.importorskip("torch")
    from minigpt_export.onnx_export import export_onnx
    from tests.models import random_gpt

    path = tmp_path_factory.mktemp("models") / "small.onnx"
    export_onnx(
        random_gpt(SMALL), CharTokenizer("abcde"), CARD, "abcdecab" * 8, path, draft=SMALL_DRAFT
    )
    return path


class ScriptedDecoder:
    """A decoder whose next token is a function of the last one; it records what it is fed.

    Passes of fewer than `steady_from` tokens give other logits, as they may in reality.
    """

    def __init__(
        self, logits_after: Sequence[Sequence[float]], block_size: int = 8, steady_from: int = 1
    ) -> None:
        self._rows = np.array(logits_after, np.float32)
        self._tokens: list[int] = []
        self._block_size = block_size
        self._steady_from = steady_from
        self.fed: list[list[int]] = []
        self.n_feeds = 0

    @property
    def block_size(self) -> int:
        return self._block_size

    @property
    def vocab_size(self) -> int:
        return len(self._rows)

    @property
    def position(self) -> int:
        return len(self._tokens)

    @property
    def steady_from(self) -> int | None:
        return self._steady_from

    def feed(self, tokens: Sequence[int]) -> Logits:
        check_feed(self, tokens)
        self.fed.append(list(tokens))
        self.n_feeds += 1
        self._tokens += tokens
        rows: Logits = self._rows[list(tokens)]
        if len(tokens) < self._steady_from:
            rows = -rows
        return rows

    def batch(self, n: int) -> "ScriptedBatch":
        return ScriptedBatch(self, n)

    def beside(self) -> "ScriptedDecoder":
        return ScriptedDecoder(self._rows.tolist(), self._block_size, self._steady_from)

    def rewind(self, position: int) -> None:
        check_rewind(self, position)
        del self._tokens[position:]


class ScriptedBatch:
    """Texts that go on from a ScriptedDecoder's, each in a decoder of its own."""

    def __init__(self, source: ScriptedDecoder, n: int) -> None:
        self._source = source
        self._rows = [copy.deepcopy(source) for _ in range(n)]

    def begin(self, row: int) -> None:
        self._rows[row] = copy.deepcopy(self._source)

    def step(self, tokens: Sequence[int]) -> Logits:
        return np.concatenate(
            [row.feed([token]) for row, token in zip(self._rows, tokens, strict=True)]
        )

    def reorder(self, rows: Sequence[int]) -> None:
        self._rows = [copy.deepcopy(self._rows[row]) for row in rows]


def cycle(vocab_size: int) -> list[list[float]]:
    """Logits under which each token is followed by the next one, the last by the first."""
    return [
        [20.0 if j == (i + 1) % vocab_size else 0.0 for j in range(vocab_size)]
        for i in range(vocab_size)
    ]
