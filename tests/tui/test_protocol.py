from pathlib import Path

import pytest

from minigpt.runtime.params import SamplingParams
from minigpt_tui.protocol import (
    Applied,
    AskSpeakers,
    Change,
    Died,
    Done,
    Failed,
    Generate,
    Look,
    Open,
    Opened,
    Refused,
    Reply,
    Request,
    Score,
    Seen,
    Skipped,
    Speakers,
    Stop,
    Tokens,
    Written,
    decode_reply,
    decode_request,
    encode,
)
from tests.tui.scripted_engine import CARD, CONFIG

PARAMS = SamplingParams(temperature=0.5, seed=2**64 - 1, logit_bias=((1, -0.5), (2, float("-inf"))))


@pytest.mark.parametrize(
    "request_",
    [
        Open(Path("a b.onnx")),
        Generate(3, "é\n\x1b\ud800", PARAMS),
        Change(PARAMS),
        Stop(3),
        Generate(4, "", PARAMS, view=7, stop=("\n\n", "x"), changes=((3, PARAMS), (9, PARAMS))),
        AskSpeakers("é"),
        Look(5, "é", view=3, n_scored=1, n_ghost=9),
    ],
)
def test_requests_survive_the_pipe(request_: Request) -> None:
    line = encode(request_)
    assert line.count(b"\n") == 1
    decoded = decode_request(line)
    assert (type(decoded), decoded) == (type(request_), request_)


@pytest.mark.parametrize(
    "reply",
    [
        Opened(Path("m.onnx"), CARD, CONFIG, "\nab", "0f"),
        Refused(Path("m.onnx"), "it is damaged"),
        Skipped(1, "é"),
        Tokens(
            1,
            (Written(5, "a", -0.1, 0.2, 1, 8, False), Written(6, "\n", -1.0, 2.0, 3, 9, True)),
            0.5,
            (0.1, -2.0),
        ),
        Done(1, "length", 10, 123.4, 0.01),
        Failed(1, "no"),
        Applied(1, 17, PARAMS),
        Seen(5, (0.5, -1.0), 3, (None, Score(1, -0.5, 1.5, 2, 3)), "ghost"),
        Speakers(("ROMEO", "é")),
        Died("gone"),
    ],
)
def test_replies_survive_the_pipe(reply: Reply) -> None:
    decoded = decode_reply(encode(reply))
    assert (type(decoded), decoded) == (type(reply), reply)
