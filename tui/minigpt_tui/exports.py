"""A document as a file for somebody else: text, Markdown, JSON, or a picture."""

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields
from enum import StrEnum
from itertools import groupby
from typing import Any

from minigpt.runtime.params import KNOBS, SamplingParams
from minigpt.terminal import one_line, printable
from minigpt_tui.document import Document
from minigpt_tui.heat import EMBER, Heat, Palette
from minigpt_tui.nodes import ROOT
from minigpt_tui.pictures import to_html, to_svg
from minigpt_tui.run_record import RunRecord

_JSON_VERSION = 1


class Form(StrEnum):
    """The kinds of files, by their ending."""

    TEXT = "txt"
    MARKDOWN = "md"
    JSON = "json"
    SVG = "svg"
    HTML = "html"


def export(
    document: Document,
    form: Form,
    *,
    title: str = "",
    heat: Heat = Heat.PROBABILITY,
    palette: Palette = EMBER,
    is_dark: bool = True,
    columns: int = 80,
) -> bytes:
    """The content of a file that holds the shown text; JSON holds the branches too.

    Args:
        document: what to export.
        form: the kind of file.
        title: for its head; may come from anywhere.
        heat: what a picture's colours tell.
        palette: a picture's colours.
        is_dark: whether a picture is light on dark.
        columns: where an SVG's rows break; a web page breaks them where it must.
    """
    match form:
        case Form.TEXT:
            text = document.text
        case Form.MARKDOWN:
            text = to_markdown(document, title)
        case Form.JSON:
            text = to_json(document, title)
        case Form.SVG:
            text = to_svg(document, heat, palette, is_dark=is_dark, columns=columns, title=title)
        case Form.HTML:
            text = to_html(document, heat, palette, is_dark=is_dark, title=title)
    return text.encode("utf-8", "replace")  # half a character, of a paste, has no UTF-8


# Markdown

_SPECIAL = re.compile(r"[\\`*_\[\]<>&#|~$]|:(?=//)|(?<=www)\.")
"""What means something anywhere in a line; GitHub makes links of addresses, too."""
_START = re.compile(r"([ \t]*)(\d*)([-+=:.)]?)")
"""What may make a line a list, a heading or code."""


def to_markdown(document: Document, title: str = "") -> str:
    """The text with the user's words in bold, below what it was written with."""
    runs = [f"- {_escaped(one_line(_sentence(run)))}" for run in document.shown_runs()]
    head = [f"# {_escaped(one_line(title or 'minigpt'))}", "", *runs, "", "---", ""]
    return "\n".join([*head, _joined(_lines(document))]) + "\n"


def _sentence(run: RunRecord) -> str:
    """What a run was made with."""
    model = run.model_name or "a model"
    if run.model_sha256:
        model += f" (sha256 {run.model_sha256[:12]}…)"
    changes = [f"from token {n + 1} on {_settings(params)}" for n, params in run.changes]
    return "; ".join([f"{run.n_tokens} tokens by {model}: {_settings(run.params)}", *changes])


def _settings(params: SamplingParams) -> str:
    """Temperature, seed and whatever else changes something."""
    told = [
        f"{name.replace('_', ' ')} {_number(getattr(params, name))}"
        for name, knob in KNOBS.items()
        if name in {"temperature", "seed"}
        or (
            getattr(params, name) != knob.neutral
            and name not in {"max_new_tokens", "mirostat_rate"}
        )
    ]
    if params.mirostat:
        told.append(f"mirostat rate {_number(params.mirostat_rate)}")
    if params.logit_bias:
        told.append(f"{len(params.logit_bias)} tokens banned or favoured")
    return ", ".join(told)


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def _lines(document: Document) -> Iterator[str]:
    """Every line of the text in Markdown, bold where the user wrote."""
    at = 0
    for line in printable(document.text).split("\n"):
        written, line_start = "", at
        for is_user, indices in groupby(range(at, at + len(line)), document.is_user):
            n_chars = len(list(indices))
            piece = line[at - line_start :][:n_chars]
            piece = _escaped(piece, is_start=at == line_start)
            # not **: next to a space or a letter that would be two asterisks
            written += f"<b>{piece}</b>" if is_user else piece
            at += n_chars
        yield written
        at += 1


def _joined(lines: Iterable[str]) -> str:
    r"""Lines that stay lines: a break is "\" at the end; an empty line makes a paragraph."""
    paragraphs: list[list[str]] = [[]]
    for line in lines:
        if line:
            paragraphs[-1].append(line)
        elif paragraphs[-1]:
            paragraphs.append([])
        else:
            paragraphs[-1].append("&nbsp;")
    return "\n\n".join("\\\n".join(paragraph) for paragraph in paragraphs)


def _escaped(text: str, *, is_start: bool = False) -> str:
    """Text that Markdown shows as it is."""
    escaped = _SPECIAL.sub(r"\\\g<0>", text)
    if is_start:
        indent, digits, mark = _START.match(escaped).groups()  # type: ignore[union-attr]
        rest = escaped[len(indent) + len(digits) + len(mark) :]
        escaped = "&nbsp;" * len(indent.expandtabs(4)) + digits + ("\\" * bool(mark)) + mark + rest
    return re.sub(r"[ \t](?=[ \t])", "&nbsp;", escaped)


# JSON

_COLUMNS = ("char", "author", "token_id", "logprob", "entropy", "rank", "window", "slid", "starts")


def to_json(document: Document, title: str = "") -> str:
    """All that is known, one JSON object.

    A branch's text is the first `fork` characters of its parent's and then its own characters; the
    text that is shown is the first `length` ones of branch `shown.branch`. A character is a list
    with the names of `columns`; all but the first two are null where no model has read it. In a
    `logit_bias` null bans a token.
    """
    branches = document.leaves()
    places = {branch.first: i for i, branch in enumerate(branches)}
    nodes = document.nodes
    value = {
        "format": "minigpt document",
        "version": _JSON_VERSION,
        "title": title,
        "text": document.text,
        "shown": {
            "branch": next((i for i, branch in enumerate(branches) if branch.is_current), None),
            "length": len(document),
        },
        "columns": _COLUMNS,
        "branches": [
            {
                "name": branch.name,
                "parent": None
                if (parent := nodes.stretch(branch.first).parent) == ROOT
                else places[nodes.stretch(parent).branch],
                "fork": branch.fork,
                "characters": [
                    _character(document, node) for own in nodes.own(branch.first) for node in own
                ],
            }
            for branch in branches
        ],
        "runs": [_run(document, run, places) for run in document.runs],
    }
    return json.dumps(value, allow_nan=False)


def _character(document: Document, node: int) -> list[Any]:
    nodes = document.nodes
    known = nodes.origin(node)
    start = [nodes.text(range(node, node + 1)), nodes.author(node).name.lower()]
    if known is None:
        return [*start, *[None] * (len(_COLUMNS) - len(start))]
    numbers = [round(x, 6) if math.isfinite(x) else None for x in (known.logprob, known.entropy)]
    return [
        *start,
        known.token_id,
        *numbers,
        known.rank,
        known.window,
        known.slid,
        known.starts,
    ]


def _run(document: Document, run: RunRecord, places: dict[int, int]) -> dict[str, Any]:
    stretch = document.nodes.stretch(run.first) if run.n_chars else None
    return {
        "number": run.number,
        "model": run.model_name,
        "model_sha256": run.model_sha256,
        "branch": places[stretch.branch] if stretch else None,
        "length_before": run.length,
        "window": run.window,
        "stops": run.stops,
        "not_first": run.not_first,
        "params": _params(run.params),
        "changes": [{"after": n, "params": _params(params)} for n, params in run.changes],
        "n_tokens": run.n_tokens,
        "text": document.text_of_run(run),
    }


def _params(params: SamplingParams) -> dict[str, Any]:
    values = {f.name: getattr(params, f.name) for f in fields(params)}
    values["logit_bias"] = [
        [token_id, bias if math.isfinite(bias) else None] for token_id, bias in params.logit_bias
    ]
    return values
