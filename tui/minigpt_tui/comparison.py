"""Two branches beside each other: their texts from where they part, and how they were written."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from minigpt.runtime.params import KNOBS, SamplingParams
from minigpt_tui.differences import MOST_CHARS, Span, differences
from minigpt_tui.document import Author, Branch, Document
from minigpt_tui.glyphs import biased
from minigpt_tui.nodes import INSIDE
from minigpt_tui.protocol import Opened
from minigpt_tui.run_record import RunRecord
from minigpt_tui.surprise import Surprise, add_up

SHARED_CHARS = 400
"""Of the text before, the last ones: the place, not the whole."""

Settings = Mapping[str, tuple[str, ...]]
"""By name, the values that it had, one after the other."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two."""

    branch: Branch
    text: str
    """From where they part, MOST_CHARS at most."""
    surprise: Surprise
    """Of what a model wrote there."""
    settings: Settings
    """Where the two were not written alike: this one's; empty where a side is no model's."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two branches, the second one's text beside the first one's."""

    fork: int
    """The length of the text that they share."""
    shared: str
    """Its end."""
    a: Side
    b: Side
    spans: list[Span]
    """Of the sides' texts."""

    @property
    def is_cut(self) -> bool:
        """Whether one of them goes on behind what was compared."""
        return any(self.fork + len(s.text) < s.branch.length for s in (self.a, self.b))


def compare(document: Document, a: Branch, b: Branch, model: Opened | None = None) -> Comparison:
    """Put two branches beside each other; one of them may be the beginning of the other.

    Args:
        document: has both.
        a: the one.
        b: the other.
        model: whose characters are known, for what was banned.
    """
    fork = document.common(a.leaf, b.leaf)
    texts = [_text(document, side.leaf, fork, fork + MOST_CHARS) for side in (a, b)]
    settings = [_settings(document, side.leaf, fork, model) for side in (a, b)]
    if all(settings):
        settings = [
            {name: values for name, values in one.items() if other[name] != values}
            for one, other in (settings, settings[::-1])
        ]
    else:
        settings = [{}, {}]
    sides = [
        Side(side, text, _surprise(document, side.leaf, fork), own)
        for side, text, own in zip((a, b), texts, settings, strict=True)
    ]
    shared = _text(document, a.leaf, max(fork - SHARED_CHARS, 0), fork)
    return Comparison(fork, shared, sides[0], sides[1], differences(*texts))


def _text(document: Document, leaf: int, start: int, stop: int) -> str:
    """A part of the text that ends with `leaf`."""
    text = ""
    for span in document.nodes.spans(leaf, start):
        text += document.nodes.text(span[: stop - start - len(text)])
    return text


def _surprise(document: Document, leaf: int, start: int) -> Surprise:
    return add_up(document.nodes, document.nodes.spans(leaf, start))[Author.MODEL]


def _settings(
    document: Document, leaf: int, start: int, model: Opened | None
) -> dict[str, tuple[str, ...]]:
    """How the text from `start` on to `leaf` was written; empty where no model wrote of it."""
    spans = document.nodes.spans(leaf, start)
    starts = [span.start for span in spans]
    found: dict[str, list[str]] = {}
    for run in document.runs:
        last = run.first + run.n_chars - 1
        i = bisect_right(starts, last) - 1
        if not run.n_chars or i < 0 or spans[i].stop <= run.first:
            continue  # what it wrote is elsewhere
        seen = range(max(run.first, spans[i].start), min(last + 1, spans[i].stop))
        for params in _in_force(document, run, seen):
            for name, value in _named(run, params, model).items():
                values = found.setdefault(name, [])
                if values[-1:] != [value]:
                    values.append(value)
    return {name: tuple(values) for name, values in found.items()}


def _in_force(document: Document, run: RunRecord, seen: range) -> Iterator[SamplingParams]:
    """The settings with which a run wrote some of its characters."""
    if not run.changes:
        yield run.params
        return
    flags = document.nodes.columns["flags"]

    def tokens(node: int) -> int:
        return sum(not flag & INSIDE for flag in flags[run.first : node])

    first, last = tokens(seen.start), tokens(seen.stop)
    # the last change holds to the end
    for (at, params), (until, _) in pairwise([(0, run.params), *run.changes, (last, run.params)]):
        if max(at, first) < min(until, last):
            yield params


def _named(run: RunRecord, params: SamplingParams, model: Opened | None) -> dict[str, str]:
    named = {"model": f"{run.model_name} {run.model_sha256[:6]}".strip()}
    for name in KNOBS:
        value = getattr(params, name)
        named[name.replace("_", " ")] = f"{value:g}" if isinstance(value, float) else str(value)
    chars = model.chars if model and model.checksum == run.model_sha256 else ""
    named["bans, favours"] = biased(params.logit_bias, chars)
    return named
