"""`minigpt generate`: from the arguments to text on stdout, one as it comes or several at once."""

import argparse
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from minigpt.errors import InputError
from minigpt.runtime import generation
from minigpt.runtime.draft import Draft
from minigpt.runtime.model import Model
from minigpt.runtime.params import KNOBS, OF_CHANCE, SamplingParams, neutral
from minigpt.runtime.window import slides_within
from minigpt.terminal import murmur, print_json, say, write

if TYPE_CHECKING:  # most texts follow no pattern: see `generation.py`
    from minigpt.runtime.pattern import Pattern


@dataclass(frozen=True, slots=True)
class _Request:
    """What is to be written, by which rules."""

    model: Model
    ids: list[int]
    params: SamplingParams
    pattern: "Pattern | None"
    about: dict[str, object]
    """What --json says beside the text."""


_SAID = ("ban", "bias", "pattern", "stop", "n", "beams")
"""Of the arguments, what beside the settings decides what is written."""


def run_generation(arguments: argparse.Namespace, model: Model) -> int:
    """Write as the arguments say; returns the exit code."""
    settings = {name: getattr(arguments, name) for name in KNOBS}
    prompt = _stdin() if arguments.prompt == "-" else arguments.prompt
    params = model.params(ban=arguments.ban, bias=biases(arguments.bias), **settings)
    if arguments.beams:
        params = _without_chance(params)
    about = {
        "prompt": prompt, "params": {name: getattr(params, name) for name in KNOBS},
        **{name: getattr(arguments, name) for name in _SAID}, "model": model.card.name,
    }  # fmt: skip
    pattern = model.pattern(arguments.pattern, params)
    _tell_of_stops(model, arguments.stop)
    request = _Request(model, _prompt_ids(model, prompt), params, pattern, about)
    if arguments.explain:
        _explain(request)
    if arguments.beams:
        if arguments.stop:
            raise InputError("--beams looks for texts of one length: it goes without --stop")
        return _write_beams(request, arguments.beams, as_json=arguments.json)
    if arguments.n:
        return _write_samples(request, arguments.n, arguments.stop, as_json=arguments.json)
    draft = Draft.idle() if arguments.no_draft else model.draft
    return _write_one(request, prompt, draft, arguments.stop, as_json=arguments.json)


def _tell_of_stops(model: Model, stop: list[str]) -> None:
    """Tell of texts to stop at that the model cannot write."""
    for text in stop:
        if unknown := model.tokenizer.unknown(text):
            say(f"note: the model has never seen {unknown[:40]!r}, so it never stops at "
                f"{text[:40]!r}")  # fmt: skip


def _without_chance(params: SamplingParams) -> SamplingParams:
    """The settings that count for a beam search; tells of others that were given."""
    plain = SamplingParams()
    names = (*OF_CHANCE, "seed")
    given = [name for name in names if getattr(params, name) != getattr(plain, name)]
    if given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        verb = "changes" if len(given) == 1 else "change"
        say(f"note: --beams draws nothing by chance, so {flags} {verb} nothing")
    return replace(params, **neutral(*OF_CHANCE))


def _write_one(
    request: _Request, prompt: str, draft: Draft | None, stop: list[str], *, as_json: bool
) -> int:
    """One text, as it comes; in JSON when all of it is there."""
    model, params = request.model, request.params
    stream = generation.generate(
        model.decoder, model.tokenizer, request.ids, lambda: params, stop=stop,
        pattern=request.pattern, draft=draft,
    )  # fmt: skip
    if as_json:
        tokens = list(stream)
        text = "".join(token.text for token in tokens)
        print_json({
            **request.about,
            "text": text,
            "matched": _is_match(request, text),
            "tokens": len(tokens),
            "logprob": sum(token.logprob for token in tokens),
            "slid_at": [token.position for token in tokens if token.slid],
        })  # fmt: skip
        return 0
    on_terminal = sys.stdout.isatty()
    if on_terminal and sys.stderr.isatty():
        murmur(prompt)  # so that a person reads the text from its beginning
    n_slides, written = 0, []
    try:
        for token in stream:
            n_slides += token.slid
            write(token.text)
            if request.pattern:  # else a million of them are kept for nothing
                written.append(token.text)
    finally:  # Ctrl-C too: the shell's prompt has a line of its own
        if on_terminal:
            write("\n")
    _tell_of_slides(model, n_slides)
    _tell_of_cuts(request, ["".join(written)])
    return 0


def _is_match(request: _Request, text: str) -> bool | None:
    """Whether a text is all that the pattern asks for; None: there is no pattern."""
    if request.pattern is None:
        return None
    return request.pattern.is_match(request.model.tokenizer.encode(text))


def _tell_of_cuts(request: _Request, texts: list[str]) -> None:
    """Tell of texts that came to their length before the pattern was matched."""
    most = request.params.max_new_tokens
    n_cut = sum(len(text) == most and _is_match(request, text) is False for text in texts)
    if n_cut:
        which = "the text ends" if len(texts) == 1 else f"{n_cut} of {len(texts)} texts end"
        say(f"note: {which} before the pattern is matched; --max-new-tokens {most} is too few")


def _tell_of_slides(model: Model, n_slides: int) -> None:
    if n_slides:
        times = "once" if n_slides == 1 else f"{n_slides} times"
        window = model.config.block_size
        say(f"note: the window of {window} characters was full {times}; its newest half was kept")


def _write_samples(request: _Request, n: int, stop: list[str], *, as_json: bool) -> int:
    """Several texts, a line of dashes between them."""
    from minigpt.runtime.batch import samples

    stream = samples(
        request.model.decoder, request.model.tokenizer, request.ids, request.params, n,
        stop=stop, pattern=request.pattern,
    )  # fmt: skip
    texts, logprobs = [""] * n, [0.0] * n  # after n was checked: it may be beyond all memory
    for i, token in stream:
        texts[i] += token.text
        logprobs[i] += token.logprob
    return _write_texts(request, texts, {"logprobs": logprobs}, as_json=as_json)


def _write_beams(request: _Request, width: int, *, as_json: bool) -> int:
    """The text that is likeliest under the rules that count; in JSON all that were found."""
    from minigpt.runtime.batch import beam_search

    beams = beam_search(
        request.model.decoder, request.model.tokenizer, request.ids, request.params, width,
        pattern=request.pattern,
    )  # fmt: skip
    shown = beams if as_json else beams[:1]
    numbers = {
        "logprobs": [beam.logprob for beam in shown], "scores": [beam.score for beam in shown]
    }  # fmt: skip
    return _write_texts(request, [beam.text for beam in shown], numbers, as_json=as_json)


def _write_texts(
    request: _Request, texts: list[str], numbers: dict[str, list[float]], *, as_json: bool
) -> int:
    """All texts; in JSON also what is known of each."""
    longest = max(map(len, texts), default=0)  # a token is a character
    n_slides = slides_within(len(request.ids), longest, request.model.config.block_size)
    if as_json:
        matched = [_is_match(request, text) for text in texts]
        about = {**request.about, "texts": texts, "matched": matched}
        print_json({**about, **numbers, "slides": n_slides})
    else:
        write("\n----\n".join(texts) + "\n")
        _tell_of_slides(request.model, n_slides)
        _tell_of_cuts(request, texts)
    return 0


def biases(pairs: list[str]) -> dict[str, float]:
    """The numbers of texts like "e=-2", by their characters.

    Raises:
        InputError: a text is not of this form.
    """
    found: dict[str, float] = {}
    for pair in pairs:
        char, _, number = pair[:1], pair[1:2], pair[2:]
        try:
            found[char] = float(number)
        except ValueError:
            number = ""
        if not number or pair[1:2] != "=":
            raise InputError(
                f"--bias needs a character, = and a number, such as e=-2, not {pair!r}"
            )
    return found


def _explain(request: _Request) -> None:
    """The likeliest first characters after each rule, a line a rule."""
    from minigpt.runtime.reader import read
    from minigpt.runtime.sampling import explain

    model, pattern = request.model, request.pattern
    in_view = request.ids[-model.config.block_size :]
    row = read(model.decoder, in_view)
    allowed = pattern.allowed(pattern.start) if pattern else None
    if allowed is not None and not allowed.any():
        say("the pattern is matched before anything is written")
        return
    for name, found in explain(row, in_view, request.params, allowed=allowed):
        probs = found.probs
        left = int((probs > 0).sum())
        ranked = (-probs).argsort(kind="stable")[: min(left, 8)]
        shown = (f"{model.tokenizer.chars[i]!r} {probs[i]:.1%}" for i in ranked)
        say(f"{name:20}{left:3} left: {'  '.join(shown)}")


def _stdin() -> str:
    if sys.stdin is None:
        raise InputError("--prompt - reads standard input, and there is none")
    if hasattr(sys.stdin, "reconfigure"):  # bytes that are no text are skipped like unknown ones
        sys.stdin.reconfigure(errors="surrogateescape")
    return sys.stdin.read().replace("\r\n", "\n")  # as texts to train on are read


def _prompt_ids(model: Model, prompt: str) -> list[int]:
    """The prompt's ids; tells of characters that the model does not know, and skips them."""
    if not prompt:
        return model.tokenizer.start
    ids = model.tokenizer.encode(prompt)
    if not ids:
        raise InputError(
            f"the model knows no character of the prompt {prompt[:40]!r}; "
            f"it knows {model.tokenizer.chars[:100]!r}"
        )
    if unknown := model.tokenizer.unknown(prompt):
        say(f"warning: the model has never seen {unknown[:40]!r}; skipped in the prompt")
    if len(ids) > (window := model.config.block_size):
        say(f"warning: the prompt has {len(ids)} characters; the model reads its last {window}")
    return ids
