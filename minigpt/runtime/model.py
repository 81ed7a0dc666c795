"""A model that is open: what can be asked of it from Python."""

import contextlib
import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from minigpt.config import GPTConfig, ModelCard
from minigpt.errors import InputError
from minigpt.runtime.params import SamplingParams

if TYPE_CHECKING:  # they import numpy; the terminal app lists models before its first paint
    import numpy as np
    import numpy.typing as npt

    from minigpt.runtime.batch import Beam
    from minigpt.runtime.decoder import Decoder
    from minigpt.runtime.draft import Draft
    from minigpt.runtime.generation import Token
    from minigpt.runtime.inspector import Inspection, Inspector
    from minigpt.runtime.pattern import Pattern
    from minigpt.tokenizer import CharTokenizer


@dataclass(frozen=True, slots=True)
class Model:
    """A model ready to run, wherever it came from."""

    path: Path
    config: GPTConfig
    tokenizer: "CharTokenizer"
    card: ModelCard
    decoder: "Decoder"
    """The methods use it, too; for a text of your own there is `decoder.beside()`."""
    parity: str = "{}"
    """How far a file is from the PyTorch model it was made of: a JSON object."""
    draft: "Draft | None" = None
    """What guesses its next tokens; None: nothing does."""
    checksum: str = ""
    """Of the file; none, if it is a checkpoint."""
    _idle: "list[tuple[Decoder, Draft | None]]" = field(
        default_factory=list, init=False, repr=False, compare=False
    )
    """What reads texts, and has none to read: threads take from a list what no other thread has."""

    def __post_init__(self) -> None:
        self._idle.append((self.decoder, self.draft))

    def generate(
        self,
        prompt: str = "",
        *,
        stop: str | Sequence[str] = (),
        pattern: str | None = None,
        ban: str = "",
        bias: Mapping[str, float] | None = None,
        draft: bool = True,
        keep_logits: bool = False,
        **settings: float,
    ) -> "Generator[Token]":
        """Write on from a prompt, a Token at a time; see `generation.generate`.

        Several texts may be written at the same time, in turns or in threads: they share the
        weights, and each has a cache of its own, of somewhat more than 8 * n_layer * n_embd *
        block_size bytes, which a later one takes over: as many stay as were ever in use at once.
        `close()` ends a text; a thread ends its own.

        Args:
            prompt: the text to go on from; characters that the model has never seen are skipped.
            stop: a text at which to end, or several.
            pattern: a regular expression; what is written can only become a match of it.
            ban: characters that must not be written.
            bias: what to add to the logits of characters.
            draft: check guesses at what comes next; makes it faster, and changes not a letter.
            keep_logits: give every Token its row of logits.
            **settings: fields of SamplingParams, such as temperature=0.8 or seed=7; for its
                logit_bias there are `ban` and `bias`.

        Raises:
            InputError: a setting is out of range, or the model knows no character of the prompt,
                or not one of those to ban or bias, or cannot write what the pattern wants.
        """
        from minigpt.runtime import generation
        from minigpt.runtime.draft import Draft

        params = self.params(ban=ban, bias=bias, **settings)
        ids, form = self._ids(prompt), self.pattern(pattern, params)
        stop = (stop,) if isinstance(stop, str) else tuple(stop)
        generation.check(ids, stop)  # now: what follows waits until a token is asked for

        def tokens() -> "Generator[Token]":
            with self._reading() as (decoder, guesses):
                yield from generation.generate(
                    decoder, self.tokenizer, ids, lambda: params, stop=stop, pattern=form,
                    draft=guesses if draft else Draft.idle(), keep_logits=keep_logits,
                )  # fmt: skip

        return tokens()

    def samples(
        self,
        prompt: str = "",
        *,
        n: int,
        stop: str | Sequence[str] = (),
        pattern: str | None = None,
        ban: str = "",
        bias: Mapping[str, float] | None = None,
        **settings: float,
    ) -> "Generator[tuple[int, Token]]":
        """Write n texts of one prompt side by side: which text, and its next Token, as they come.

        Text i has the seed that is i above the settings'; see `batch.samples`, and `generate` for
        the arguments and the errors.
        """
        from minigpt.runtime import batch, generation

        params = self.params(ban=ban, bias=bias, **settings)
        ids, form = self._ids(prompt), self.pattern(pattern, params)
        stop = (stop,) if isinstance(stop, str) else tuple(stop)
        generation.check(ids, stop)
        batch.check(n)

        def tokens() -> "Generator[tuple[int, Token]]":
            with self._reading() as (decoder, _):
                yield from batch.samples(
                    decoder, self.tokenizer, ids, params, n, stop=stop, pattern=form
                )

        return tokens()

    def beams(
        self,
        prompt: str = "",
        *,
        width: int,
        pattern: str | None = None,
        ban: str = "",
        bias: Mapping[str, float] | None = None,
        **settings: float,
    ) -> "list[Beam]":
        """Look for the likeliest texts of max_new_tokens, the best first; see `batch.beam_search`.

        Nothing is drawn: of the settings those count that change what is likely. The arguments and
        the errors are those of `generate`.
        """
        from minigpt.runtime import batch

        params = self.params(ban=ban, bias=bias, **settings)
        ids, form = self._ids(prompt), self.pattern(pattern, params)
        with self._reading() as (decoder, _):
            return batch.beam_search(decoder, self.tokenizer, ids, params, width, pattern=form)

    def _ids(self, prompt: str) -> list[int]:
        return self.tokenizer.encode(prompt) if prompt else self.tokenizer.start

    @contextlib.contextmanager
    def _reading(self) -> "Iterator[tuple[Decoder, Draft | None]]":
        """What reads a text: one that no other text has, else another one over the same weights."""
        try:
            reading = self._idle.pop()
        except IndexError:
            reading = self.decoder.beside(), self.draft and self.draft.beside()
        try:
            yield reading
        finally:
            self._idle.append(reading)

    def params(
        self, *, ban: str = "", bias: Mapping[str, float] | None = None, **settings: float
    ) -> SamplingParams:
        """The settings of a draw, with characters to ban or bias named as characters.

        Raises:
            InputError: a setting is out of range, or the model does not know a character.
        """
        if "logit_bias" in settings:
            raise InputError('logit_bias is of ids: for characters give bias={"e": -2}, or ban="e"')
        biases = {**(bias or {}), **dict.fromkeys(ban, -math.inf)}
        if unknown := [c for c in biases if c not in self.tokenizer.chars or len(c) != 1]:
            raise InputError(f"the model has no character {unknown[0]!r} to ban or bias")
        ids = {self.tokenizer.encode(c)[0]: value for c, value in biases.items()}
        return SamplingParams(**settings, logit_bias=tuple(ids.items()))  # type: ignore[arg-type]

    def pattern(self, regex: str | None, params: SamplingParams) -> "Pattern | None":
        """A regular expression over this model's characters, without those that are banned.

        Raises:
            InputError: see `pattern.Pattern`.
        """
        if regex is None:
            return None
        from minigpt.runtime.pattern import Pattern

        banned = [token for token, bias in params.logit_bias if bias == -math.inf]
        return Pattern(regex, self.tokenizer, banned)

    def logprobs(self, text: str) -> "npt.NDArray[np.float64]":
        """The natural log-probability of each character of a text but the first.

        Characters that the model has never seen (`tokenizer.unknown`) are skipped: there are as
        many numbers fewer. A text longer than block_size is read in windows that do not overlap, so
        the first character of each is judged by one character before it, see `evaluation.logprobs`;
        a Token's logprob is of the window that it was drawn in.

        Raises:
            InputError: fewer than two characters are known.
        """
        from minigpt.runtime import evaluation

        with self._reading() as (decoder, _):
            return evaluation.logprobs(decoder, self.tokenizer.encode(text))

    def inspect(self, text: str) -> "Inspection":
        """What happens inside the model while it reads the last block_size characters of a text.

        The file is opened once more each time, so that a model costs those who never look no
        memory; whoever looks often keeps an `inspector`.

        Raises:
            InputError: no character is known, or as `inspector`.
        """
        ids = self.tokenizer.encode(text)[-self.config.block_size :]
        if not ids:
            raise InputError("the model knows no character of the text: there is nothing to see")
        return self.inspector().look(ids)

    def inspector(self) -> "Inspector":
        """A second session over the model's file, that shows what happens inside.

        Raises:
            InputError: the model is no file but a checkpoint, or the file is gone or has changed.
        """
        from minigpt.runtime.inspector import Inspector
        from minigpt.runtime.onnx_file import open_onnx

        if not self.checksum:
            raise InputError(f"{self.path} is a checkpoint: look into what is exported of it")
        file = open_onnx(self.path)
        if file.checksum != self.checksum:
            raise InputError(f"{self.path} is another file than when it was opened: open it again")
        return Inspector(file)
