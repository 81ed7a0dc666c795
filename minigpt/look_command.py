"""`minigpt look`: what each layer would say after a text, and what a head looked at."""

import argparse
from dataclasses import dataclass

from minigpt.errors import InputError
from minigpt.runtime.inspector import Inspection, Inspector
from minigpt.runtime.library import find_model
from minigpt.runtime.onnx_file import OnnxFile, open_onnx
from minigpt.terminal import print_json, printable, say

GUESSES = 6
PLACES = 8
CONTEXT_CHARS = 20


@dataclass(frozen=True, slots=True)
class View:
    """A text as its last character sees it; layers and heads count from 1."""

    model: str
    text: str
    """What the model read of it."""
    ladder: list[list[tuple[str, float]]]
    """The likeliest next characters with their probabilities: embedding, then layer by layer."""
    layer: int | None = None
    head: int | None = None
    """None: the mean over the layer's heads."""
    attention: list[float] | None = None
    """How much of what was read came from each character of `text`."""

    def facts(self) -> dict[str, object]:
        """What --json prints."""
        return {
            "model": self.model,
            "text": self.text,
            "ladder": [[{"char": c, "p": p} for c, p in rung] for rung in self.ladder],
            "layer": self.layer,
            "head": self.head,
            "attention": self.attention,
        }

    def lines(self) -> list[str]:
        """The same for people."""
        found = ["after       likeliest next characters"]
        for i, rung in enumerate(self.ladder):
            name = f"layer {i}" if i else "embedding"
            found.append(f"{name:11}" + "".join(f" {c!r:>4} {p:4.0%}" for c, p in rung))
        if self.attention is not None:
            which = f"head {self.head}" if self.head else "all heads"
            found += ["", f"layer {self.layer}, {which}: where {self.text[-1]!r} looked"]
            found += self._places(self.attention)
        return found

    def _places(self, attention: list[float]) -> list[str]:
        strongest = sorted(range(len(attention)), key=lambda i: -attention[i])[:PLACES]
        contexts = {i: self.text[max(0, i + 1 - CONTEXT_CHARS) : i + 1] for i in strongest}
        return [f"{attention[i]:6.1%}  {i + 1:4}  {contexts[i]!r}" for i in strongest]


def look(arguments: argparse.Namespace) -> int:
    """Print what is seen; returns the exit code."""
    if arguments.head and not arguments.layer:
        raise InputError("--head is one of a layer's: say which by --layer")
    file = open_onnx(find_model(arguments.model))
    _check_place("--layer", arguments.layer, file.config.n_layer)
    _check_place("--head", arguments.head, file.config.n_head)
    seen = Inspector(file).look(_ids(file, arguments.text))
    view = _view(file, seen, arguments.layer, arguments.head)
    if arguments.json:
        print_json(view.facts())
    else:
        print(printable("\n".join(view.lines())))
    return 0


def _check_place(flag: str, number: int | None, most: int) -> None:
    if number and number > most:
        raise InputError(f"{flag} must be from 1 to {most} with this model, not {number}")


def _ids(file: OnnxFile, text: str) -> list[int]:
    """The text's ids, as many as the model can see; tells of what it cannot."""
    tokenizer, window = file.tokenizer, file.config.block_size
    ids = tokenizer.encode(text)
    if not ids:
        raise InputError(f"the model knows no character of the text {text[:40]!r}")
    if unknown := tokenizer.unknown(text):
        say(f"warning: the model has never seen {unknown[:40]!r}; skipped in the text")
    if len(ids) > window:
        say(f"warning: the text has {len(ids)} characters; the model reads its last {window}")
    return ids[-window:]


def _view(file: OnnxFile, seen: Inspection, layer: int | None, head: int | None) -> View:
    chars = file.tokenizer.chars
    ladder = [[(chars[i], p) for i, p in rung] for rung in seen.ladder(-1, GUESSES)]
    text = file.tokenizer.decode(seen.tokens)
    if layer is None:
        return View(file.card.name, text, ladder)
    heads = seen.attention[layer - 1, :, -1]  # (H,T)
    weights = heads[head - 1] if head else heads.mean(axis=0)
    return View(file.card.name, text, ladder, layer, head, weights.tolist())
