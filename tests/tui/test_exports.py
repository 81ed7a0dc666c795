import json
import math
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from minigpt.runtime.params import SamplingParams
from minigpt.terminal import printable
from minigpt_tui.document import Document
from minigpt_tui.exports import Form, export
from minigpt_tui.heat import CIVIDIS, EMBER, SCALES, Heat
from minigpt_tui.pictures import DAY, NIGHT
from minigpt_tui.protocol import Score, Written
from minigpt_tui.theme import NIGHT as NIGHT_THEME
from minigpt_tui.theme import PAPER as PAPER_THEME
from minigpt_tui.widgets.wrapping import Wrapping

HOSTILE = "<script>alert(1)</script> & \"'</pre></svg>\x1b[31m\x00\ud83d\uffff\n\ttab 漢字"
PIECES = st.lists(
    st.tuples(
        st.booleans(),
        st.text(st.sampled_from("ab1 \n\t*_`#>-+=.)(![]<&|~\\$:/\x1b漢\ud83d"), max_size=12),
    ),
    max_size=8,
)


def written(text: str, p: float = 0.5) -> tuple[Written, ...]:
    return tuple(Written(7, c, math.log(p), 1.5, 2, 3, False) for c in text)


def of(pieces: list[tuple[bool, str]]) -> Document:
    document = Document()
    for is_user, text in pieces:
        if is_user:
            document.append_user(text)
        else:
            document.append_tokens(written(text))
    return document


def forked() -> Document:
    document = Document()
    document.append_user("RO", [Score(3, -1.0, 2.0, 4, 5)])
    document.begin_run(
        SamplingParams(seed=3, top_k=5, logit_bias=((1, float("-inf")),)),
        stops=("\n",),
        model_name="[small](x)",
        model_sha256="0123456789abcdef" * 4,
    )
    document.append_tokens((Written(8, "ME", -0.5, 1.5, 2, 3, True), *written("O")))
    document.runs[0].changes.append((1, SamplingParams(temperature=1.2)))
    document.rewind(3)
    document.append_forced(written("?")[0])
    return document


def test_plain_text_is_the_text() -> None:
    assert export(of([(True, "a\n"), (False, "é")]), Form.TEXT) == "a\né".encode()
    assert export(of([(True, "\ud83d")]), Form.TEXT) == b"?", "half a character is no text"


# Markdown


def read_markdown(markdown: str) -> tuple[str, str]:
    """What a reader of Markdown sees below the rule, and what of it is bold."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown)
    shown = bold = ""
    is_bold = False
    rule = next(i for i, token in enumerate(tokens) if token.type == "hr")
    for token in tokens[rule + 1 :]:
        assert token.type in {"paragraph_open", "inline", "paragraph_close"}, token
        for child in token.children or []:
            match child.type:
                case "text" | "text_special":
                    shown += child.content
                    bold += child.content if is_bold else ""
                case "html_inline":
                    assert child.content in {"<b>", "</b>"}
                    is_bold = child.content == "<b>"
                case _:
                    assert child.type in {"hardbreak", "softbreak"}, child
                    shown += "\n"
        shown += "\n"
    return shown, bold


def words(text: str) -> list[list[str]]:
    """The words of each line that has some."""
    return [line.split() for line in printable(text).split("\n") if line.split()]


@given(PIECES)
def test_markdown_shows_every_line_as_it_is(pieces: list[tuple[bool, str]]) -> None:
    document = of(pieces)
    shown, bold = read_markdown(export(document, Form.MARKDOWN).decode())
    assert words(shown) == words(document.text)
    typed = "".join(text for is_user, text in pieces if is_user)
    assert "".join(bold.split()) == "".join(printable(typed).split())


@pytest.mark.parametrize(
    "text",
    [
        *("&amp; &#65;", "+ x", "- x", "* x", "1. x", "12) x", "# x", "> x", "= x", "_a_", "*a*"),
        *("**a**", "~~a~~", "`a`", "```\nx\n```", "~~~\nx", "a\n===", "a\n---", "***", "    code"),
        *("[a](b)", "[a]: b", "![a](b)", "<i>x</i>", "<!-- x -->", "<http://a>", "a|b\n-|-\nc|d"),
        *("\\*", "x\\", "\\", "x\\\ny", "a  \nb"),
    ],
)
@pytest.mark.parametrize("is_user", [True, False])
def test_markdown_takes_nothing_for_its_own_signs(text: str, is_user: bool) -> None:
    document = of([(is_user, text)])
    shown, bold = read_markdown(export(document, Form.MARKDOWN).decode())
    assert words(shown) == words(text)
    assert words(bold) == (words(text.replace("\n", "")) if is_user else [])


def test_markdown_keeps_verses_and_their_indents() -> None:
    document = of([(True, "ROMEO:\n"), (False, "Ay me!\n\n\n    1. Night's candles\n- are\n")])
    body = export(document, Form.MARKDOWN).decode().split("---\n\n")[1]
    assert body == (
        "<b>ROMEO:</b>\\\nAy me!\n\n"
        "&nbsp;\\\n&nbsp;&nbsp;&nbsp;&nbsp;1\\. Night's candles\\\n\\- are\n\n\n"
    )


def test_markdown_tells_what_it_was_written_with() -> None:
    document = forked()
    document.begin_run(SamplingParams(seed=99))
    document.append_token(written("x")[0])
    document.rewind(len(document) - 1)  # what this run wrote is not shown
    head = export(document, Form.MARKDOWN, title="# *Act* 1\n2").decode().split("---")[0]
    assert head.splitlines()[0] == r"# \# \*Act\* 1␊2"
    (run,) = [line for line in head.splitlines() if line.startswith("- ")]
    assert run == (
        r"- 2 tokens by \[small\](x) (sha256 0123456789ab…): temperature 0.8, top k 5, top p 0.95, "
        "seed 3, 1 tokens banned or favoured; "
        "from token 2 on temperature 1.2, top p 0.95, seed 1337"
    )


# JSON


def read_json(document: Document, title: str = "") -> dict[str, object]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    value = json.loads(export(document, Form.JSON, title=title), parse_constant=refuse)
    assert isinstance(value, dict)
    return value


def test_json_tells_everything() -> None:
    assert read_json(forked(), "t") == {
        "format": "minigpt document",
        "version": 1,
        "title": "t",
        "text": "ROM?",
        "shown": {"branch": 1, "length": 4},
        "columns": [
            "char", "author", "token_id", "logprob", "entropy", "rank", "window", "slid", "starts",
        ],
        "branches": [
            {
                "name": "",
                "parent": None,
                "fork": 0,
                "characters": [
                    ["R", "user", 3, -1.0, 2.0, 4, 5, False, True],
                    ["O", "user", *[None] * 7],
                    ["M", "model", 8, -0.5, 1.5, 2, 3, True, True],
                    ["E", "model", 8, -0.5, 1.5, 2, 3, True, False],
                    ["O", "model", 7, -0.693147, 1.5, 2, 3, False, True],
                ],
            },
            {
                "name": "",
                "parent": 0,
                "fork": 3,
                "characters": [["?", "forced", 7, -0.693147, 1.5, 2, 3, False, True]],
            },
        ],
        "runs": [
            {
                "number": 1,
                "model": "[small](x)",
                "model_sha256": "0123456789abcdef" * 4,
                "branch": 0,
                "length_before": 2,
                "window": 0,
                "stops": ["\n"],
                "not_first": "",
                "params": params(seed=3, top_k=5, logit_bias=[[1, None]]),
                "changes": [{"after": 1, "params": params(temperature=1.2)}],
                "n_tokens": 2,
                "text": "MEO",
            }
        ],
    }  # fmt: skip


def params(**changed: object) -> dict[str, object]:
    default = SamplingParams()
    values = {name: getattr(default, name) for name in SamplingParams.__dataclass_fields__}
    return {**values, "logit_bias": [], **changed}


def test_json_takes_whatever_a_document_may_hold() -> None:
    document = of([(True, HOSTILE)])
    document.append_token(Written(1, "x", float("-inf"), float("nan"), 1, 1, False))
    document.begin_run(SamplingParams())
    value = read_json(document)
    assert value["text"] == HOSTILE + "x"
    assert read_json(Document())["branches"] == []


# Pictures


class Page(HTMLParser):
    """The text in <pre>, the titles in it, and every tag."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.titles, self.tags = "", list[str | None](), set[str]()
        self.is_pre = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.is_pre = self.is_pre or tag == "pre"
        self.titles += [value for name, value in attrs if name == "title"]

    def handle_endtag(self, tag: str) -> None:
        self.is_pre = self.is_pre and tag != "pre"

    def handle_data(self, data: str) -> None:
        self.text += data if self.is_pre else ""


def svg_rows(document: Document, **options: object) -> list[str]:
    """The text of each row of a picture, without the legend's."""
    svg = export(document, Form.SVG, **options).decode()  # type: ignore[arg-type]
    rows: dict[float, str] = {}
    for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        if re.search(r"user|model", element.get("class", "")):
            y = float(element.get("y", ""))
            rows[y] = rows.get(y, "") + (element.text or "")
    return [rows[y] for y in sorted(rows)]


@pytest.mark.parametrize("heat", Heat)
@pytest.mark.parametrize("text", [HOSTILE, "", "\n\n"])
def test_pictures_hold_the_text_and_nothing_that_acts(heat: Heat, text: str) -> None:
    document = of([(True, text), (False, text)])
    shown = printable(text * 2).replace("\uffff", "\ufffd")
    page = Page(export(document, Form.HTML, heat=heat, title=text).decode())
    assert page.text == "\n" + shown
    assert page.tags <= set("html meta title style h1 p span pre i".split())  # noqa: SIM905
    rows = svg_rows(document, heat=heat, title=text, columns=1000)
    assert [row.split() for row in rows] == [
        row.split() for row in shown.split("\n") if row.split()
    ]


def test_an_svg_breaks_its_rows_where_the_screen_does() -> None:
    text = "But soft, what light through yonder window breaks? " * 5
    document = of([(False, text)])
    wrapped = Wrapping(30)
    wrapped.extend(text)
    expected = [text[slice(*wrapped.span(row))] for row in range(len(wrapped))]
    rows = svg_rows(document, columns=30)
    assert len(rows) > 5
    assert rows == expected


@pytest.mark.parametrize("form", [Form.SVG, Form.HTML])
def test_a_picture_says_what_its_colours_mean(form: Form) -> None:
    document = of([(False, "a")])
    picture = export(document, form, heat=Heat.RANK, palette=CIVIDIS, is_dark=False).decode()
    assert all(label in picture for label in SCALES[Heat.RANK].labels)
    assert all(shade.background in picture for shade in CIVIDIS.light)
    plain = export(document, form, heat=Heat.OFF).decode()
    assert not any(label in plain for label in SCALES[Heat.RANK].labels)


@pytest.mark.parametrize(("p", "level"), [(0.9, 0), (0.3, 1), (0.15, 2), (0.05, 3), (0.01, 4)])
def test_a_character_is_drawn_in_its_colour_and_with_its_bar(p: float, level: int) -> None:
    document = of([(True, "ab")])
    document.append_tokens(written("c", p))
    elements = list(ET.fromstring(export(document, Form.SVG).decode()))
    backs = [e.get("fill") for e in elements if e.get("x") == f"{24 + 2 * 8.4:g}"]
    bars = [
        e.get("height")
        for e in elements
        if e.get("x") == f"{24 + 2 * 8.4:g}" and e.get("fill-opacity")
    ]
    assert backs[0] == EMBER.dark[level].background
    assert bars == ([str(level)] if level else [])
    html = export(document, Form.HTML).decode()
    assert f'<span class="model h{level}"><i title="{p:.1%}, rank 2">c</i></span>' in html


def test_what_the_user_chose_is_framed() -> None:
    document = forked()
    assert export(document, Form.SVG).decode().count('class="frame forced"') == 1
    assert '<span class="forced h0">' in export(document, Form.HTML).decode()


def test_the_papers_are_those_of_the_themes() -> None:
    for paper, theme in ((NIGHT, NIGHT_THEME), (DAY, PAPER_THEME)):
        assert (paper.background, paper.foreground, paper.user, paper.muted) == (
            theme.background,
            theme.foreground,
            theme.primary,
            theme.variables["text-muted"],
        )
