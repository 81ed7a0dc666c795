from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.errors import InputError
from minigpt.runtime.params import KNOBS, SamplingParams
from minigpt_tui.presets import PRESETS, RULES, apply, changes_of, find, preset_name

OTHER = SamplingParams(
    temperature=1.7, top_k=3, mirostat=2.0, seed=7, max_new_tokens=9, logit_bias=((4, -1.0),)
)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_decides_on_the_rules_and_on_nothing_else(name: str) -> None:
    params = apply(OTHER, PRESETS[name])
    assert (params.seed, params.max_new_tokens, params.logit_bias) == (7, 9, ((4, -1.0),))
    assert (params.top_k, params.mirostat) == (0, 0.0)
    assert find(params, PRESETS) == name


def test_balanced_is_the_defaults() -> None:
    assert apply(SamplingParams(), PRESETS["balanced"]) == SamplingParams()
    assert set(RULES) == KNOBS.keys() - {"seed", "max_new_tokens"}


def test_presets_get_bolder() -> None:
    temperatures = [apply(OTHER, changes).temperature for changes in PRESETS.values()]
    assert temperatures == sorted(set(temperatures))


FRACTIONS = {n: knob for n, knob in KNOBS.items() if type(getattr(OTHER, n)) is float}


@given(st.fixed_dictionaries({n: st.floats(k.low, k.high) for n, k in FRACTIONS.items()}))
def test_what_is_saved_comes_back(values: dict[str, float]) -> None:
    params = replace(SamplingParams(seed=3, max_new_tokens=2), **values)  # type: ignore[arg-type]
    assert apply(replace(OTHER, seed=3, max_new_tokens=2, logit_bias=()), changes_of(params)) == (
        params
    )


def test_no_preset_is_in_force_after_a_change() -> None:
    assert find(SamplingParams(temperature=0.7), PRESETS) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "1 to 16"),
        ("   ", "1 to 16"),
        ("x" * 17, "1 to 16"),
        ("a\x1b[2J", "1 to 16"),
        ("greedy", "built in"),
    ],
)
def test_names_that_are_none(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as refused:
        preset_name(text)
    assert "\x1b" not in str(refused.value)


def test_names_lose_the_spaces_around_them() -> None:
    assert preset_name(" mine ") == "mine"
