"""The engine for real: a child process, a tiny model, pipes."""

import math
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from minigpt.config import GPTConfig, ModelCard
from minigpt.runtime.library import load, shipped_model
from minigpt.runtime.onnx_walk import Walk
from minigpt.runtime.params import SamplingParams
from minigpt.runtime.sampling import distribution
from minigpt.tokenizer import CharTokenizer
from minigpt_tui.engine_client import EngineClient, _obituary
from minigpt_tui.engine_process import EngineProcess
from minigpt_tui.looker import Looker
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
    Seen,
    Skipped,
    Speakers,
    Stop,
    Tokens,
)
from tests.runtime.fuzz_door import sealed

CHARS = "abcdefgh"
MANY = 1_000_000
"""More tokens than a test waits for."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from minigpt.model import GPT
    from minigpt_export.onnx_export import export_onnx

    torch.manual_seed(0)
    config = GPTConfig(n_layer=1, n_head=2, n_embd=16, block_size=16, vocab_size=len(CHARS))
    card = ModelCard(
        name="tiny", corpus="none", corpus_sha256="0" * 64, corpus_chars=0, steps=0, val_loss=2.0,
        minigpt_version="0.1.0",
    )  # fmt: skip
    path = tmp_path_factory.mktemp("engine") / "tiny.onnx"
    export_onnx(GPT(config).eval(), CharTokenizer(CHARS), card, CHARS, path)
    return path


class Line:
    """A client whose replies can be waited for."""

    def __init__(self) -> None:
        self.client = EngineClient()
        self.heard: list[Reply] = []
        self._unheard: list[Reply] = []
        self._spoke = threading.Event()
        self.client.listen(self._spoke.set)

    def wait_for(self, kind: type[Reply], condition: Callable[[], bool] = lambda: True) -> Reply:
        """Listen until the newest reply is of a kind and something holds."""
        while True:
            self._unheard += self.client.receive()
            while self._unheard:
                reply = self._unheard.pop(0)
                self.heard.append(reply)
                if isinstance(reply, kind) and condition():
                    return reply
            assert self._spoke.wait(300), f"no {kind.__name__} came; heard {self.heard[-3:]}"
            self._spoke.clear()

    def text(self, run: int) -> str:
        return "".join(
            token.text for r in self.heard if isinstance(r, Tokens) and r.run == run
            for token in r.tokens
        )  # fmt: skip


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.client.close()


def test_opens_generates_and_is_done(line: Line, model: Path) -> None:
    params = SamplingParams(max_new_tokens=100)
    line.client.send(Open(model))
    line.client.send(Generate(1, "abc", params))  # queued while the model loads
    opened = line.wait_for(Opened)
    assert isinstance(opened, Opened)
    assert (opened.card.name, opened.config.block_size) == ("tiny", 16)
    done = line.wait_for(Done)
    assert isinstance(done, Done)
    assert (done.run, done.reason, done.n_tokens) == (1, "length", 100)
    assert done.tokens_per_s > 0
    assert done.first_token_s > 0
    text = line.text(1)
    assert len(text) == 100
    first = next(r for r in line.heard if isinstance(r, Tokens))
    assert len(first.tokens) == 1  # at once, not with the next batch
    assert (first.tokens[0].window, len(first.row)) == (3, len(CHARS))
    assert max(first.row) == first.row[first.tokens[0].id] or first.tokens[0].rank > 1
    assert any(t.slid for r in line.heard if isinstance(r, Tokens) for t in r.tokens)
    line.client.send(Generate(3, "abc", params, model="of another one"))
    failed = line.wait_for(Failed)
    assert isinstance(failed, Failed)
    assert (failed.run, failed.sentence) == (3, "no model is open; choose one")
    line.client.send(Generate(2, "abc", params, model=opened.checksum))
    line.wait_for(Done)
    assert line.text(2) == text


def test_who_could_speak_is_told_when_nothing_else_waits(line: Line, model: Path) -> None:
    line.client.send(Open(model))
    line.client.send(Generate(1, "abc", SamplingParams(max_new_tokens=MANY)))
    line.wait_for(Tokens)
    line.client.send(AskSpeakers("a"))
    line.client.send(AskSpeakers("b"))
    line.client.send(Stop(1))
    line.wait_for(Speakers)
    kinds = [type(reply) for reply in line.heard]
    assert kinds.index(Done) < kinds.index(Speakers)
    line.client.send(Generate(2, "abc", SamplingParams(max_new_tokens=100)))
    line.wait_for(Done)
    assert [type(reply) for reply in line.heard].count(Speakers) == 1


def test_a_line_that_is_cut_off_by_a_death_is_not_read(line: Line) -> None:
    real = line.client._child
    dead: Any = SimpleNamespace(stdout=BytesIO(b'["Tokens", {"run": 1'), wait=lambda: -9)
    line.client._child = dead
    line.client._read(dead, BytesIO())
    line.client._child = real
    assert isinstance(line.wait_for(Died), Died)


def test_a_stop_ends_the_run_and_everything_written_comes(line: Line, model: Path) -> None:
    line.client.send(Open(model))
    line.client.send(Generate(1, "a", SamplingParams(max_new_tokens=MANY)))
    line.wait_for(Tokens)
    line.client.send(Stop(1))
    done = line.wait_for(Done)
    assert isinstance(done, Done)
    assert done.reason == "stopped"
    assert done.n_tokens == len(line.text(1)) < MANY


def test_a_stop_for_an_old_run_leaves_the_new_one_alone(line: Line, model: Path) -> None:
    line.client.send(Open(model))
    line.client.send(Generate(1, "a", SamplingParams(max_new_tokens=MANY)))
    line.client.send(Generate(2, "a", SamplingParams(max_new_tokens=20)))
    line.client.send(Stop(1))
    done = line.wait_for(Done, lambda: bool(line.text(2)))
    assert done == Done(2, "length", 20, done.tokens_per_s, done.first_token_s)  # type: ignore[union-attr]


def test_a_change_acts_in_the_middle_of_a_run(line: Line, model: Path) -> None:
    line.client.send(Open(model))
    wild = SamplingParams(max_new_tokens=MANY, temperature=100.0, top_p=1.0)
    line.client.send(Generate(1, "a", wild))
    line.wait_for(Tokens, lambda: len(line.text(1)) > 50)
    assert len(set(line.text(1))) > 4
    line.client.send(Change(SamplingParams(max_new_tokens=MANY, temperature=0.0)))
    # greedily this model soon goes in circles
    line.wait_for(Tokens, lambda: len(set(line.text(1)[-20:])) <= 2)
    line.client.send(Change(SamplingParams(max_new_tokens=1)))
    done = line.wait_for(Done)
    assert isinstance(done, Done)
    assert done.reason == "length"


def test_unknown_characters_are_named_and_skipped(line: Line, model: Path) -> None:
    line.client.send(Open(model))
    line.client.send(Generate(1, "aXbéX", SamplingParams(max_new_tokens=1)))
    assert line.wait_for(Skipped) == Skipped(1, "Xé")
    line.wait_for(Done)
    line.client.send(Generate(2, "XYZ", SamplingParams()))
    failed = line.wait_for(Failed)
    assert isinstance(failed, Failed)
    assert "no character that the model knows" in failed.sentence
    assert Skipped(2, "XYZ") not in line.heard  # one sentence is enough


def test_all_that_was_written_comes_before_a_failure(line: Line, model: Path) -> None:
    line.client.send(Open(model))
    ban_all = SamplingParams(logit_bias=tuple((i, -math.inf) for i in range(len(CHARS))))
    # at the hundredth token, with some behind the last batch that was sent
    line.client.send(Generate(1, "a", SamplingParams(), changes=((100, ban_all),)))
    failed = line.wait_for(Failed)
    assert isinstance(failed, Failed)
    assert "banned" in failed.sentence
    assert len(line.text(1)) == 100


def test_a_damaged_file_is_refused_and_the_model_before_stays(
    line: Line, model: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(model.read_bytes()[:-100])
    line.client.send(Generate(1, "a", SamplingParams()))
    failed = line.wait_for(Failed)
    assert isinstance(failed, Failed)
    assert "no model is open" in failed.sentence
    line.client.send(Open(model))
    line.wait_for(Opened)
    line.client.send(Open(damaged))
    refused = line.wait_for(Refused)
    assert isinstance(refused, Refused)
    assert "damaged.onnx" in refused.sentence
    line.client.send(Generate(2, "a", SamplingParams(max_new_tokens=3)))
    line.wait_for(Done)


def test_a_killed_engine_is_told_and_starts_again(line: Line, model: Path) -> None:
    line.client.send(Open(model))
    line.client.send(Generate(1, "a", SamplingParams(max_new_tokens=MANY)))
    line.wait_for(Tokens)
    os.kill(line.client.pid, signal.SIGKILL)
    died = line.wait_for(Died)
    assert isinstance(died, Died)
    assert "press Enter to start it again" in died.sentence
    line.client.send(Generate(2, "a", SamplingParams(max_new_tokens=5)))
    line.wait_for(Opened)
    done = line.wait_for(Done)
    assert isinstance(done, Done)
    assert done.run == 2


def test_a_dead_engine_is_started_by_a_run_alone(line: Line, model: Path) -> None:
    line.client.send(Open(model))
    line.client.send(Generate(1, "a", SamplingParams(max_new_tokens=MANY)))
    line.wait_for(Tokens)
    pid = line.client.pid
    os.kill(pid, signal.SIGKILL)
    line.client._child.wait()
    # what is sent before its death is told must not hide it behind a new child
    for request in (Change(SamplingParams()), Look(1, "a"), AskSpeakers("a"), Stop(1)):
        line.client.send(request)
    line.wait_for(Died)
    assert line.client.pid == pid
    line.client.close()
    line.client.send(Generate(2, "a", SamplingParams()))
    assert line.client.pid == pid, "nor does anything after the end"


def test_a_model_whose_weights_are_no_numbers_is_refused(
    line: Line, model: Path, tmp_path: Path
) -> None:
    found = Walk().model(memoryview(model.read_bytes()))
    assert found.graph is not None
    graph = bytearray(bytes(found.graph))
    at = graph.index(b"ln_f.weight\x4a\x40") + 13  # behind its name: 64 bytes of raw_data
    graph[at : at + 64] = b"\xff" * 64
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(sealed(bytes(graph), found.metadata))
    line.client.send(Open(broken))
    refused = line.wait_for(Refused)
    assert isinstance(refused, Refused)
    assert "NaN" in refused.sentence


def test_after_a_refusal_a_new_child_opens_the_model_that_was_open(
    line: Line, model: Path, tmp_path: Path
) -> None:
    line.client.send(Open(model))
    line.wait_for(Opened)
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(model.read_bytes()[:-9])
    line.client.send(Open(damaged))
    line.wait_for(Refused)
    os.kill(line.client.pid, signal.SIGKILL)
    line.wait_for(Died)
    line.client.send(Generate(2, "a", SamplingParams(max_new_tokens=5)))
    opened = line.wait_for(Opened)
    assert isinstance(opened, Opened)
    assert opened.path == model
    line.wait_for(Done)


def test_a_new_child_that_refuses_a_model_has_the_one_before(
    line: Line, model: Path, tmp_path: Path
) -> None:
    line.client.send(Open(model))
    line.wait_for(Opened)
    os.kill(line.client.pid, signal.SIGKILL)
    line.wait_for(Died)
    line.client.send(Open(tmp_path / "missing.onnx"))
    line.wait_for(Refused)
    line.client.send(Generate(1, "a", SamplingParams(max_new_tokens=5)))
    assert isinstance(line.wait_for(Done), Done)


def test_a_model_that_kills_the_engine_is_not_opened_again(
    line: Line, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.client.send(Open(model))
    line.wait_for(Opened)
    os.kill(line.client.pid, signal.SIGKILL)
    line.wait_for(Died)
    written: list[Request | None] = []

    def write(request: Request) -> None:
        if written[-1] is None:  # to a child that has died again, while it opened the model
            written[-1] = request
            raise BrokenPipeError
        written.append(request)

    monkeypatch.setattr(line.client, "_write", write)
    monkeypatch.setattr(line.client, "_start", lambda: None)
    runs = [Generate(n, "a", SamplingParams()) for n in (1, 2)]
    for run in runs:
        written.append(None)
        line.client.send(run)
    assert written == [runs[0], Open(model), runs[0], runs[1], runs[1]]


def test_a_crash_quotes_its_last_line(line: Line) -> None:
    child = line.client._child
    assert child.stdin is not None
    child.stdin.write(b"not json\n")
    child.stdin.flush()
    died = line.wait_for(Died)
    assert isinstance(died, Died)
    assert "JSONDecodeError" in died.sentence


def test_the_engine_leaves_when_its_interface_does(line: Line, model: Path) -> None:
    line.client.send(Open(model))
    line.client.send(Generate(1, "a", SamplingParams(max_new_tokens=MANY)))
    line.wait_for(Tokens)
    child = line.client._child
    assert child.stdin is not None
    child.stdin.close()
    assert child.wait(300) == 0


def test_a_run_is_repeated_with_the_changes_that_it_told(line: Line, model: Path) -> None:
    wild = SamplingParams(max_new_tokens=MANY, temperature=2.0, top_p=1.0)
    line.client.send(Open(model))
    line.client.send(Generate(1, "a", wild))
    line.wait_for(Tokens)
    careful = replace(wild, temperature=0.3)
    line.client.send(Change(careful))
    applied = line.wait_for(Applied)
    assert isinstance(applied, Applied)
    assert (applied.run, applied.params) == (1, careful)
    line.wait_for(Tokens, lambda: len(line.text(1)) > applied.n_tokens + 100)
    line.client.send(Stop(1))
    line.wait_for(Done)
    same = replace(wild, max_new_tokens=len(line.text(1)))
    careful = replace(careful, max_new_tokens=len(line.text(1)))
    line.client.send(Generate(2, "a", same, changes=((applied.n_tokens, careful),)))
    again = line.wait_for(Applied)
    assert isinstance(again, Applied)
    assert (again.run, again.n_tokens) == (2, applied.n_tokens)
    line.wait_for(Done)
    assert line.text(2) == line.text(1)


def test_the_changes_of_a_run_that_is_repeated_are_not_for_the_next_one() -> None:
    script, mine = SamplingParams(temperature=0.1), SamplingParams(temperature=0.7)
    engine = EngineProcess(BytesIO(), BytesIO())
    repeated = Generate(1, "a", SamplingParams(), changes=((1, script),))
    engine._take(repeated)
    settings = engine._settings(repeated, ())
    settings()
    engine._take(Generate(2, "a", mine))  # comes in the middle of a token
    settings()
    settings()
    assert engine._params is mine


def test_what_cannot_come_first_cannot_under_other_settings_either() -> None:
    warm = SamplingParams(temperature=1.5)
    engine = EngineProcess(BytesIO(), BytesIO())
    asked = Generate(1, "a", SamplingParams(), not_first="\n")
    engine._take(asked)
    settings = engine._settings(asked, (5,))
    engine._take(Change(warm))  # before the first token
    assert settings() == replace(warm, logit_bias=((5, -math.inf),))
    assert settings() == warm


def test_an_answer_does_not_begin_with_what_it_cannot(line: Line, model: Path) -> None:
    line.client.send(Open(model))
    greedy = SamplingParams(temperature=0.0, max_new_tokens=1)
    line.client.send(Generate(1, "a", greedy))
    line.wait_for(Done)
    line.client.send(Generate(2, "a", greedy, not_first=line.text(1)))
    line.wait_for(Done)
    assert len(line.text(2)) == 1
    assert line.text(2) != line.text(1)


def test_a_stop_text_ends_the_run(line: Line, model: Path) -> None:
    params = SamplingParams(max_new_tokens=500, temperature=2.0, top_p=1.0)
    line.client.send(Open(model))
    line.client.send(Generate(1, "a", params))
    line.wait_for(Done)
    stop = line.text(1)[50:53]
    line.client.send(Generate(2, "a", params, stop=(stop,)))
    done = line.wait_for(Done)
    assert isinstance(done, Done)
    assert done.reason == "stop text"
    assert line.text(2) == line.text(1)[: line.text(1).index(stop)]


def test_a_look_tells_what_the_model_thinks(line: Line, model: Path) -> None:
    opened = load(model)
    ids = opened.tokenizer.encode("abcafb")
    rows = opened.decoder.feed(ids)
    chances = [distribution(row, ids, SamplingParams()) for row in rows]
    line.client.send(Open(model))
    line.client.send(Look(1, "abcXafb", n_scored=4, n_ghost=3))
    seen = line.wait_for(Seen)
    assert isinstance(seen, Seen)
    assert seen.row == pytest.approx(rows[-1], abs=1e-3)
    assert (seen.number, seen.view) == (1, 6)
    assert seen.scores[0] is None  # the model does not know an X
    for score, place in zip(seen.scores[1:], (3, 4, 5), strict=True):
        assert score is not None
        before = chances[place - 1]
        assert score.logprob == pytest.approx(before.logprobs[ids[place]], abs=1e-4)
        assert score.entropy == pytest.approx(before.entropy, abs=1e-4)
        assert (score.id, score.window) == (ids[place], place)
    greedy = opened.generate("abcafb", temperature=0, max_new_tokens=3)
    assert seen.ghost == "".join(token.text for token in greedy)
    line.client.send(Look(2, "Y", n_scored=1))
    assert line.wait_for(Seen) == Seen(2, (), 0, (None,), "")
    # 16 is all that it can have in view: what it would write next does not end there
    line.client.send(Look(3, "abcafb" * 5, n_ghost=20))
    seen = line.wait_for(Seen)
    assert isinstance(seen, Seen)
    greedy = opened.generate("abcafb" * 5, temperature=0, max_new_tokens=20)
    assert (seen.view, seen.ghost) == (16, "".join(token.text for token in greedy))


def test_looks_one_after_another_do_not_depend_on_each_other(line: Line, model: Path) -> None:
    line.client.send(Open(model))
    texts = ["a", "ab", "abc", "ab", "abcdefgh" * 4, "b" + "abcdefgh" * 4, "abcdefgh" * 3 + "a"]
    for number, text in enumerate(texts):
        line.client.send(Look(number, text, n_scored=3, n_ghost=5, view=None if number % 2 else 9))
        after_others = line.wait_for(Seen)
        alone = Looker(load(model)).look(
            Look(number, text, n_scored=3, n_ghost=5, view=None if number % 2 else 9)
        )
        assert isinstance(after_others, Seen)
        assert after_others.row == pytest.approx(alone.row, abs=1e-3)
        assert after_others.ghost == alone.ghost
        assert [s and s[0] for s in after_others.scores] == [s and s[0] for s in alone.scores]


def test_a_look_in_the_middle_of_a_run_changes_nothing(line: Line, model: Path) -> None:
    line.client.send(Open(model))
    line.client.send(Generate(1, "a", SamplingParams(max_new_tokens=MANY)))
    line.wait_for(Tokens)
    line.client.send(Look(1, "bcd"))
    line.wait_for(Seen)
    n_tokens = len(line.text(1))
    line.wait_for(Tokens, lambda: len(line.text(1)) > n_tokens + 100)
    line.client.send(Stop(1))
    line.wait_for(Done)
    line.client.send(Generate(2, "a", SamplingParams(max_new_tokens=len(line.text(1)))))
    line.wait_for(Done)
    assert line.text(1) == line.text(2)


def test_an_empty_text_begins_as_texts_do(line: Line) -> None:
    line.client.send(Open(shipped_model()))
    line.client.send(Generate(1, "", SamplingParams(max_new_tokens=9)))
    line.wait_for(Done)
    assert len(line.text(1)) == 9


def test_a_windows_without_visual_c_is_named() -> None:
    errors = BytesIO(b"Traceback:\n ...\nImportError: DLL load failed while importing state\n")
    assert "vc_redist.x64.exe" in _obituary(1, errors)
