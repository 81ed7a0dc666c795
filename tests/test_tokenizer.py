import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.errors import InputError
from minigpt.tokenizer import END_OF_TEXT, CharTokenizer

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def test_worked_example() -> None:
    tokenizer = CharTokenizer.from_text("hello")
    assert tokenizer.chars == "ehlo"
    assert tokenizer.encode("hole") == [1, 3, 2, 0]
    assert tokenizer.decode([1, 0]) == "he"


@given(TEXTS)
def test_text_survives_the_round_trip(text: str) -> None:
    tokenizer = CharTokenizer.from_text(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(TEXTS, st.text())
def test_array_encoding_is_the_same(vocabulary: str, text: str) -> None:
    tokenizer = CharTokenizer.from_text(vocabulary)
    assert tokenizer.encode_array(text).tolist() == tokenizer.encode(text)


@given(st.text())
def test_unknown_characters_are_named_and_skipped(text: str) -> None:
    tokenizer = CharTokenizer("abc")
    assert set(tokenizer.unknown(text)) == set(text) - set("abc")
    assert tokenizer.decode(tokenizer.encode(text)) == "".join(c for c in text if c in "abc")


@given(TEXTS)
def test_json_round_trip(text: str) -> None:
    tokenizer = CharTokenizer.from_text(text)
    assert CharTokenizer.from_json(tokenizer.to_json()) == tokenizer


@given(TEXTS)
def test_hugging_face_reads_the_same_ids(text: str) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    ours = CharTokenizer.from_text(text)
    theirs = tokenizers.Tokenizer.from_str(ours.to_json())
    assert theirs.encode(text).ids == ours.encode(text)
    assert theirs.decode(ours.encode(text)) == text


@given(TEXTS, st.text(st.characters(exclude_categories=["Cs"])))
def test_hugging_face_leaves_out_what_is_unknown_too(vocabulary: str, text: str) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    ours = CharTokenizer.from_text(vocabulary)
    theirs = tokenizers.Tokenizer.from_str(ours.to_json())
    assert theirs.encode(text + vocabulary).ids == ours.encode(text + vocabulary)


@pytest.mark.parametrize("step", [1, 2])
def test_hugging_face_reads_twenty_thousand_characters(step: int) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    ours = CharTokenizer("".join(map(chr, range(0x20000, 0x20000 + 20_000 * step, step))))
    theirs = tokenizers.Tokenizer.from_str(ours.to_json())
    known = ours.chars[::99]
    assert theirs.encode(known).ids == ours.encode(known)
    if step == 1:
        assert theirs.encode("日").ids == []
    else:  # a pattern of so many ranges would be one that nobody can open
        assert theirs.normalizer is None


@pytest.mark.parametrize("chars", ["]", "^", "-", "a-z", "[]^-\\&&~|", "z-a", "\\d", "[:alpha:]"])
def test_signs_of_patterns_are_characters(chars: str) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    ours = CharTokenizer.from_text(chars)
    theirs = tokenizers.Tokenizer.from_str(ours.to_json())
    text = "abdlpz0]^-\\[:&~| \n" + chars
    assert theirs.encode(text).ids == ours.encode(text)


def test_end_of_text_has_the_id_behind_the_characters() -> None:
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = CharTokenizer.from_text("a é—😀漢\n")
    theirs = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    assert theirs.token_to_id(END_OF_TEXT) == tokenizer.vocab_size == 7
    assert theirs.encode(f"é{END_OF_TEXT}漢").ids == [
        *tokenizer.encode("é"), 7, *tokenizer.encode("漢")
    ]  # fmt: skip
    assert theirs.decode([7]) == ""


def test_a_tokenizer_without_end_of_text_is_read() -> None:
    """As it is in older checkpoints."""
    form = json.loads(CharTokenizer("aé").to_json())
    form["model"]["vocab"] = {"a": 0, "Ã©": 1, "Ã": 2, "©": 3}
    assert CharTokenizer.from_json(json.dumps(form)) == CharTokenizer("aé")


@pytest.mark.parametrize("wrong", [0, 4, -1, 3.5, "3", None])
def test_end_of_text_elsewhere_is_refused(wrong: object) -> None:
    form = json.loads(CharTokenizer("abc").to_json())
    form["model"]["vocab"][END_OF_TEXT] = wrong
    with pytest.raises(InputError):
        CharTokenizer.from_json(json.dumps(form))


def test_the_same_characters_give_the_same_file() -> None:
    assert CharTokenizer.from_text("abba é").to_json() == CharTokenizer.from_text("é ab").to_json()


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", '{"model": {"vocab": []}}', '{"model": {"vocab": {"a": 1}}}',
     '{"model": {"vocab": {}}}', '{"model": {"vocab": {"☃": 0}}}', "[" * 100_000],
)  # fmt: skip
def test_damaged_json_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        CharTokenizer.from_json(text)


def test_ids_must_be_consecutive() -> None:
    form = json.loads(CharTokenizer("abc").to_json())
    form["model"]["vocab"]["a"] = 9
    with pytest.raises(InputError):
        CharTokenizer.from_json(json.dumps(form))


def test_a_vocabulary_has_each_character_once() -> None:
    with pytest.raises(InputError):
        CharTokenizer("aa")


def test_ids_that_collide_as_keys_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Multiples of 2**61 - 1 have one hash: as keys of a dict, 16,000 of them took 2.8 s."""
    n_hashed = 0

    class Id(int):
        def __hash__(self) -> int:
            nonlocal n_hashed
            n_hashed += 1
            return 0

    vocab = {chr(0x21 + i): Id(i * (2**61 - 1)) for i in range(50)}
    monkeypatch.setattr("json.loads", lambda _: {"model": {"vocab": vocab}})
    with pytest.raises(InputError, match="tokenizer"):
        CharTokenizer.from_json("")
    assert n_hashed == 0
