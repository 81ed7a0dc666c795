"""The engine in a process of its own: `python -m minigpt_tui.engine_process`.

A process and not a thread, because the interpreter lock would cost a third of the speed, and
because then a stop is a message, a kill is certain, and a native crash spares the terminal.
Requests come as lines on stdin, replies go as lines to stdout; see `protocol.py`.
"""

import math
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO

from minigpt.errors import InputError
from minigpt.runtime.chat import likely_speakers
from minigpt.runtime.generation import Token, generate
from minigpt.runtime.library import load
from minigpt.runtime.model import Model
from minigpt.runtime.params import SamplingParams
from minigpt_tui.gaze import START
from minigpt_tui.looker import Looker, plain
from minigpt_tui.protocol import (
    Applied,
    AskSpeakers,
    Change,
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
    Written,
    decode_request,
    encode,
)

FLUSH_S = 1 / 30
"""Tokens are sent as often as they are drawn; the first one at once."""


Todo = Open | Generate | Look | AskSpeakers
"""What is done one after another; a change and a stop act at once."""


class EngineProcess:
    """Reads requests in a thread, so that a change, a stop or a look acts on the next token."""

    def __init__(self, requests: BinaryIO, replies: BinaryIO) -> None:
        self._requests = requests
        self._replies = replies
        self._todo: SimpleQueue[Todo | ValueError | None] = SimpleQueue()
        self._params = SamplingParams()  # the newest that came, of whatever run
        self._drawn_with = SamplingParams()  # the last token
        self._wanted = 0  # the run to go on with
        self._look: Look | None = None  # the newest one that is not answered
        self._look_lock = threading.Lock()  # or one that comes while another is taken would be lost
        self._asked: AskSpeakers | None = None
        self._model: Model | None = None
        self._looker: Looker | None = None

    def serve(self) -> None:
        """Answer requests until they end."""
        threading.Thread(target=self._listen, daemon=True).start()
        while (request := self._next()) is not None:
            if isinstance(request, Open):
                self._open(request.path)
            elif isinstance(request, Generate):
                self._generate(request)
            elif isinstance(request, Look):
                self._answer_look()
            elif isinstance(request, AskSpeakers):
                self._asked = request
            else:
                raise request

    def _next(self) -> Todo | ValueError | None:
        if self._asked is not None and self._todo.empty():
            # it takes half a second, which a text or a look should not wait for
            self._name_speakers(self._asked.text)
            self._asked = None
        return self._todo.get()

    def _listen(self) -> None:
        last: ValueError | None = None
        try:
            for line in self._requests:
                self._take(decode_request(line))
        except (
            ValueError
        ) as error:  # let the main thread end with it, so that its traceback is whole
            last = error
        self._wanted = 0
        self._todo.put(last)

    def _take(self, request: Request) -> None:
        if isinstance(request, Change):
            self._params = request.params
        elif isinstance(request, Stop):
            self._wanted = 0 if self._wanted == request.run else self._wanted
        else:
            if isinstance(request, Generate):
                self._wanted, self._params = request.run, request.params
            elif isinstance(request, Look):
                with self._look_lock:
                    self._look = request
            self._todo.put(request)

    def _send(self, reply: Reply) -> None:
        self._replies.write(encode(reply))
        self._replies.flush()

    def _open(self, path: Path) -> None:
        try:
            model = load(path, sparing=True)  # the interface draws meanwhile
            # The first runs of everything are slow (20 ms to a first token, then 2): not in a run.
            warm_up = generate(
                model.decoder, model.tokenizer, [0, 0], SamplingParams, draft=model.draft
            )
            for _ in islice(warm_up, 2):
                pass
        except InputError as error:
            self._send(Refused(path, str(error)))
            return
        self._model, self._looker = model, None
        self._send(Opened(path, model.card, model.config, model.tokenizer.chars, model.checksum))

    def _answer_look(self) -> None:
        """Answer the newest look, if it is not answered already."""
        with self._look_lock:
            request, self._look = self._look, None
        if request is None or self._model is None:
            return
        try:
            self._looker = self._looker or Looker(self._model)
            self._send(self._looker.look(request))
        except InputError:  # a text of which the model knows nothing: there is nothing to say
            self._send(Seen(request.number, (), 0, (None,) * request.n_scored, ""))

    def _name_speakers(self, text: str) -> None:
        if self._model is not None:
            decoder = self._model.decoder.beside()
            try:
                names = likely_speakers(decoder, self._model.tokenizer, text)
            except InputError:  # its vocabulary has no letters
                names = []
            self._send(Speakers(tuple(names)))

    def _generate(self, request: Generate) -> None:
        start = time.perf_counter()
        if self._model is None or request.model not in {None, self._model.checksum}:
            self._send(Failed(request.run, "no model is open; choose one"))
            return
        try:
            self._run(request, self._model, start)
        except InputError as error:
            self._send(Failed(request.run, str(error)))

    def _run(self, request: Generate, model: Model, start: float) -> None:
        run = request.run
        prompt = model.tokenizer.encode(request.text or START)
        if 0 < len(prompt) < len(request.text):  # of nothing that is left `generate` says that
            self._send(Skipped(run, model.tokenizer.unknown(request.text)))
        first = now = start
        n_tokens = 0
        unsent: list[Token] = []
        due = 0.0
        settings = self._settings(request, model.tokenizer.encode(request.not_first))
        stream = generate(
            model.decoder, model.tokenizer, prompt, settings, stop=request.stop, draft=model.draft,
            keep_logits=True, view=request.view,
        )  # fmt: skip
        try:
            for token in stream if self._wanted == run else ():
                now = time.perf_counter()
                first = first if n_tokens else now
                n_tokens += 1
                unsent.append(token)
                if now >= due:
                    self._send(_tokens(run, unsent, now - start))
                    unsent.clear()
                    due = now + FLUSH_S
                if self._look:
                    self._answer_look()
                if self._wanted != run:
                    break
        finally:  # also where a slider has left nothing to draw from
            if unsent:
                self._send(_tokens(run, unsent, now - start))
        is_full = n_tokens >= self._drawn_with.max_new_tokens
        reason = "stopped" if self._wanted != run else "length" if is_full else "stop text"
        speed = (n_tokens - 1) / (now - first) if n_tokens > 1 else 0.0
        self._send(Done(run, reason, n_tokens, speed, first - start))

    def _settings(
        self, request: Generate, not_first: Sequence[int]
    ) -> Callable[[], SamplingParams]:
        """The settings, to be asked for once a token; tells from which token on they are others."""
        numbers = count()
        script = dict(request.changes)
        heard = self._drawn_with = request.params
        banned = tuple((token, -math.inf) for token in not_first)

        def now() -> SamplingParams:
            # `_params` is only read: the listening thread may have put the next run's there already
            nonlocal heard
            n = next(numbers)
            params = script.get(n, self._drawn_with)
            if self._params is not heard:
                heard = params = self._params
            if params is not self._drawn_with:
                self._drawn_with = params
                self._send(Applied(request.run, n, params))
            if n or not banned:
                return params
            return replace(params, logit_bias=params.logit_bias + banned)

        return now


def _tokens(run: int, tokens: Sequence[Token], elapsed_s: float) -> Tokens:
    row = tokens[-1].logits
    assert row is not None
    return Tokens(run, tuple(map(_written, tokens)), elapsed_s, plain(row))


def _written(token: Token) -> Written:
    return Written(
        token.id, token.text, token.logprob, token.entropy, token.rank, token.window, token.slid
    )


def main() -> None:
    """Serve the process that started this one until it closes the pipe or dies."""
    # what native code prints to stdout would mix with the replies
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    EngineProcess(sys.stdin.buffer, replies).serve()


if __name__ == "__main__":
    main()
