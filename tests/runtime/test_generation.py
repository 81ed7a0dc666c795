import tracemalloc
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.errors import InputError
from minigpt.runtime.distribution import Logits
from minigpt.runtime.draft import Draft
from minigpt.runtime.evaluation import logprobs
from minigpt.runtime.generation import generate
from minigpt.runtime.params import SamplingParams
from minigpt.runtime.pattern import Pattern
from minigpt.runtime.window import view_after
from minigpt.tokenizer import CharTokenizer
from tests.conftest import ScriptedDecoder, cycle

ABC = CharTokenizer("abcdefgh")


def settings(**values: float) -> Callable[[], SamplingParams]:
    params = SamplingParams(**{"temperature": 0.0, "max_new_tokens": 10, **values})  # type: ignore[arg-type]
    return lambda: params


def text(decoder: ScriptedDecoder, prompt: str, stop: tuple[str, ...] = (), **values: float) -> str:
    stream = generate(decoder, ABC, ABC.encode(prompt), settings(**values), stop=stop)
    return "".join(token.text for token in stream)


def test_greedy_text_goes_on_from_the_prompt() -> None:
    assert text(ScriptedDecoder(cycle(8), block_size=64), "abc") == "defghabcde"


def test_the_prompt_is_fed_once_and_each_token_once() -> None:
    decoder = ScriptedDecoder(cycle(8), block_size=64)
    text(decoder, "abc", max_new_tokens=4)
    assert decoder.fed == [[0, 1, 2], [3], [4], [5]]  # the last token needs no feed


def test_a_full_window_keeps_its_newest_half() -> None:
    decoder = ScriptedDecoder(cycle(8), block_size=4)
    stream = generate(decoder, ABC, ABC.encode("abc"), settings(max_new_tokens=6))
    tokens = list(stream)
    assert "".join(t.text for t in tokens) == "defgha"
    # abc d | ef (d e would be the newest half of abcd + e: the two newest tokens)
    assert decoder.fed == [[0, 1, 2], [3], [3, 4], [5], [6], [6, 7]]
    assert [t.slid for t in tokens] == [False, False, True, False, False, True]
    assert [t.position for t in tokens] == [3, 4, 5, 6, 7, 8]


def test_a_long_prompt_is_read_from_its_newest_window_on() -> None:
    decoder = ScriptedDecoder(cycle(8), block_size=4)
    text(decoder, "abcdefg", max_new_tokens=1)
    assert decoder.fed == [[3, 4, 5, 6]]


def test_a_window_of_one_token_still_writes() -> None:
    assert text(ScriptedDecoder(cycle(8), block_size=1), "a", max_new_tokens=4) == "bcde"


def test_records_carry_what_the_model_thought() -> None:
    decoder = ScriptedDecoder([[np.log(3.0), 0.0], [0.0, 0.0]])
    params = settings(max_new_tokens=2)
    tokens = list(generate(decoder, CharTokenizer("ab"), [0], params, keep_logits=True))
    assert tokens[0].logprob == pytest.approx(np.log(0.75))
    assert tokens[0].entropy == pytest.approx(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))
    for token in tokens:
        assert token.logits is not None
        assert np.argsort(-token.logits, kind="stable")[token.rank - 1] == token.id
    assert tokens[0].logits is not None
    np.testing.assert_allclose(tokens[0].logits, [np.log(3.0), 0.0], rtol=1e-6)
    assert [t.id for t in tokens] == [0, 0]


def test_a_changed_setting_acts_on_the_next_token() -> None:
    now = SamplingParams(temperature=0.0, max_new_tokens=100)
    stream = generate(ScriptedDecoder(cycle(8), block_size=64), ABC, [0], lambda: now)
    first = list(islice(stream, 3))
    now = SamplingParams(temperature=0.0, max_new_tokens=5)
    assert len(first) + len(list(stream)) == 5


def test_the_seed_decides_the_text() -> None:
    flat = [[0.0] * 8] * 8
    one, same, other = (
        text(ScriptedDecoder(flat), "a", temperature=1.0, seed=seed, max_new_tokens=40)
        for seed in (1, 1, 2)
    )
    assert one == same != other


def test_a_text_can_be_taken_up_again_at_any_place() -> None:
    flat = [[0.0] * 8] * 8
    whole = text(ScriptedDecoder(flat), "a", temperature=1.0, top_p=1.0, max_new_tokens=30)
    for cut in (1, 7, 29):
        rest = text(
            ScriptedDecoder(flat), "a" + whole[:cut], temperature=1.0, top_p=1.0,
            max_new_tokens=30 - cut,
        )  # fmt: skip
        assert whole[:cut] + rest == whole


def test_a_text_broken_off_goes_on_with_what_was_in_view() -> None:
    rows = np.random.default_rng(0).normal(0, 2, (8, 8)).tolist()
    values = {"temperature": 1.0, "repetition_penalty": 1.5, "no_repeat_ngram": 3}
    params = settings(**values, max_new_tokens=40)
    whole = list(generate(ScriptedDecoder(rows, 9), ABC, [0, 1], params))
    assert any(token.slid for token in whole)
    for cut in range(1, 39):
        so_far = [0, 1, *(token.id for token in whole[:cut])]
        params = settings(**values, max_new_tokens=40 - cut)
        view = view_after(whole[cut - 1].window, 9)
        rest = generate(ScriptedDecoder(rows, 9), ABC, so_far, params, view=view)
        assert [(t.id, t.window) for t in rest] == [(t.id, t.window) for t in whole[cut:]]


@st.composite
def situations(draw: st.DrawFn) -> tuple[ScriptedDecoder, ScriptedDecoder, dict[str, Any]]:
    """Two equal decoders, one for each way, and settings with everything that has a memory."""
    seed, block_size = draw(st.integers(0, 99)), draw(st.integers(1, 9))
    rows = np.random.default_rng(seed).normal(0, 2, (8, 8)).tolist()
    steady_from = draw(st.sampled_from([1, 2]))
    one, other = (ScriptedDecoder(rows, block_size, steady_from) for _ in range(2))
    values = {
        "temperature": draw(st.sampled_from([0.0, 0.8, 1.5])),
        "top_p": draw(st.sampled_from([0.7, 1.0])),
        "repetition_penalty": draw(st.sampled_from([1.0, 1.3])),
        "no_repeat_ngram": draw(st.sampled_from([0, 3])),
        "mirostat": draw(st.sampled_from([0.0, 1.5])),
        "max_new_tokens": 40,
        "seed": seed,
    }
    return one, other, values


@given(situations(), st.lists(st.integers(0, 7), min_size=1, max_size=12), st.integers(0, 3))
def test_guesses_change_nothing_but_the_passes(
    situation: tuple[ScriptedDecoder, ScriptedDecoder, dict[str, Any]],
    prompt: list[int],
    kind: int,
) -> None:
    one, other, values = situation
    plain = list(
        generate(one, ABC, prompt, settings(**values), draft=Draft.idle(), keep_logits=True)
    )
    # guesses from: the very text that comes, another text, nothing at first, a short table
    text = [prompt + [t.id for t in plain], [0, 1, 2, 3] * 20, [], [5] * 50][kind]
    draft = Draft.from_text(np.array(text * 16, np.uint32), 8)
    guessed = list(generate(other, ABC, prompt, settings(**values), draft=draft, keep_logits=True))
    assert [t._replace(logits=None) for t in guessed] == [t._replace(logits=None) for t in plain]
    for one_row, other_row in zip(guessed, plain, strict=True):
        np.testing.assert_array_equal(one_row.logits, other_row.logits)
    assert len(plain) == 40


def test_guesses_that_come_true_save_their_passes() -> None:
    decoder = ScriptedDecoder(cycle(8), block_size=64)
    draft = Draft.from_text(np.array(list(range(8)) * 20), 8)
    tokens = list(generate(decoder, ABC, [0], settings(max_new_tokens=50), draft=draft))
    assert "".join(t.text for t in tokens) == ("bcdefgha" * 7)[:50]
    assert [t.window for t in tokens] == list(range(1, 51))
    assert len(decoder.fed) < 25


def test_a_lone_token_is_read_with_the_one_before_where_it_must() -> None:
    decoder = ScriptedDecoder(cycle(8), block_size=4, steady_from=2)
    tokens = generate(decoder, ABC, [0], settings(max_new_tokens=6), draft=Draft.idle())
    assert "".join(token.text for token in tokens) == "bcdefg"
    assert decoder.fed == [[0, 0], [0, 1], [1, 2], [2, 3], [3, 4], [4, 5]]


def test_without_a_draft_each_token_is_read_alone() -> None:
    decoder = ScriptedDecoder(cycle(8), block_size=8, steady_from=2)
    text(decoder, "a", max_new_tokens=6)
    assert [len(tokens) for tokens in decoder.fed] == [1] * 6


def test_a_model_reads_one_text_at_a_time() -> None:
    decoder = ScriptedDecoder(cycle(8), block_size=64)
    one = generate(decoder, ABC, [0, 1, 2], settings())
    assert [next(one).text, next(one).text] == ["d", "e"]
    other = generate(decoder, ABC, [0], settings())  # not begun: nothing has happened yet
    assert next(one).text == "f"
    assert next(other).text == "b"
    with pytest.raises(InputError, match="one text at a time"):
        next(one)


def test_another_text_of_the_same_length_is_noticed_too() -> None:
    decoder = ScriptedDecoder(cycle(8), block_size=64)
    one = generate(decoder, ABC, [0, 1, 2], settings())
    next(one)
    next(generate(decoder, ABC, [4, 5, 6], settings()))
    with pytest.raises(InputError, match="one text at a time"):
        next(one)


def test_what_was_guessed_is_not_taken_from_another_text() -> None:
    decoder = ScriptedDecoder(cycle(8), block_size=64)
    one = generate(decoder, ABC, ABC.encode("abcdefghabcd" * 2), settings(), draft=Draft({}))
    next(one)
    while len(decoder.fed[-1]) < 3 or len(decoder.fed) == 1:
        next(one)  # until guesses were read
    logprobs(decoder, [3] * 6)
    with pytest.raises(InputError, match="one text at a time"):
        next(one)


def test_no_chunk_of_a_prompt_is_a_lone_token() -> None:
    for length, chunks in ((1, [1]), (256, [256]), (257, [255, 2]), (258, [256, 2])):
        decoder = ScriptedDecoder(cycle(8), block_size=600)
        next(generate(decoder, ABC, [0] * length, settings()))
        assert [len(tokens) for tokens in decoder.fed] == chunks


def test_a_repeated_prompt_is_guessed_without_a_table() -> None:
    decoder = ScriptedDecoder(cycle(8), block_size=64)
    prompt = ABC.encode("abcdefghabcdefghab")
    list(generate(decoder, ABC, prompt, settings(max_new_tokens=40), draft=Draft({})))
    assert len(decoder.fed) < 25


def test_a_pattern_is_written_to_its_end() -> None:
    decoder = ScriptedDecoder(cycle(8), block_size=64)
    pattern = Pattern("de(c|g){2,3}", ABC)
    stream = generate(decoder, ABC, [2], settings(max_new_tokens=99), pattern=pattern)
    assert "".join(t.text for t in stream) == "deccc"  # c, where both are as unlikely


def test_long_prompts_are_read_in_chunks() -> None:
    decoder = ScriptedDecoder(cycle(8), block_size=1000)
    assert text(decoder, "abcdefgh" * 80, max_new_tokens=2) == "ab"
    assert [len(fed) for fed in decoder.fed] == [256, 256, 128, 1]


@pytest.mark.parametrize(
    ("stop", "expected"),
    [(("f",), "de"), (("gh", "fg"), "de"), (("hab",), "defg"), (("xyz",), "defghabcde"),
     (("hax",), "defghabcde"), (("d",), ""), (("cdex",), "defghabcde"), (("efz", "g"), "def")],
)  # fmt: skip
def test_stop_texts_end_the_text_before_them(stop: tuple[str, ...], expected: str) -> None:
    assert text(ScriptedDecoder(cycle(8), block_size=64), "abc", stop) == expected


@given(st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3), st.integers(0, 99))
def test_stopping_is_cutting_the_endless_text(stops: list[str], seed: int) -> None:
    flat = [[0.0, 0.0]] * 2
    ab = CharTokenizer("ab")

    def write(stop: list[str]) -> str:
        params = settings(temperature=1.0, top_p=1.0, seed=seed, max_new_tokens=30)
        return "".join(t.text for t in generate(ScriptedDecoder(flat), ab, [0], params, stop=stop))

    whole = write([])
    # the stream ends as soon as a stop text is complete, so the one that ends first decides
    ends = [(whole.find(s) + len(s), whole.find(s)) for s in stops if s in whole]
    first_end = min((end for end, _ in ends), default=None)
    cut = min((at for end, at in ends if end == first_end), default=len(whole))
    assert write(stops) == whole[:cut]


def test_text_that_cannot_become_a_stop_is_not_held_back() -> None:
    decoder = ScriptedDecoder(cycle(8), block_size=64)
    stream = generate(decoder, ABC, ABC.encode("abc"), settings(), stop=("fgz",))
    assert next(stream).text == "d"
    assert len(decoder.fed) == 1
    assert next(stream).text == "e"
    assert len(decoder.fed) == 2
    assert next(stream).text == "f"  # only now is it sure that no stop begins here
    assert len(decoder.fed) == 5


def test_a_long_text_takes_no_more_memory_than_a_short_one() -> None:
    class Forgetful(ScriptedDecoder):
        def feed(self, tokens: Sequence[int]) -> Logits:
            rows = super().feed(tokens)
            self.fed.clear()
            return rows

    stream = generate(
        Forgetful(cycle(8), block_size=64), ABC, [0] * 5000, settings(max_new_tokens=30_000)
    )
    tracemalloc.start()
    for _ in islice(stream, 10_000):
        pass
    before = tracemalloc.get_traced_memory()[0]
    for _ in stream:
        pass
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 2000  # bytes; a number a token would be 160,000


def test_empty_prompts_and_stops_are_refused() -> None:
    decoder = ScriptedDecoder(cycle(8))
    with pytest.raises(InputError, match="prompt"):
        generate(decoder, ABC, [], settings())
    with pytest.raises(InputError, match="stop"):
        generate(decoder, ABC, [0], settings(), stop=("",))


def test_what_a_decoder_is_fed_is_checked() -> None:
    decoder = ScriptedDecoder(cycle(8), block_size=4)
    for tokens, words in (([], "at least one"), ([8], r"\[0, 8\)"), ([-1], r"\[0, 8\)")):
        with pytest.raises(ValueError, match=words):
            decoder.feed(tokens)
    with pytest.raises(ValueError, match="block_size 4"):
        decoder.feed([0] * 5)
    with pytest.raises(ValueError, match="rewind"):
        decoder.rewind(1)
