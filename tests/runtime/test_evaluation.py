import math

import pytest

from minigpt.errors import InputError
from minigpt.runtime.evaluation import evaluate, logprobs
from tests.conftest import ScriptedDecoder


def test_a_uniform_model_loses_log_v() -> None:
    assert evaluate(ScriptedDecoder([[0.0] * 4] * 4), [0, 1, 2, 3] * 9) == pytest.approx(
        math.log(4)
    )


def test_every_target_is_predicted_once_from_its_own_window() -> None:
    after_0, after_1 = [math.log(3.0), 0.0], [0.0, 0.0]
    decoder = ScriptedDecoder([after_0, after_1], block_size=2)
    ids = [0, 0, 1, 1, 0]
    by_hand = [math.log(4 / 3), math.log(4), math.log(2), math.log(2)]
    assert evaluate(decoder, ids) == pytest.approx(sum(by_hand) / 4)
    assert decoder.fed == [[0, 0], [1, 1]]
    assert (-logprobs(decoder, ids)).tolist() == pytest.approx(by_hand)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_told(number: float) -> None:
    with pytest.raises(InputError, match="the model is damaged"):
        evaluate(ScriptedDecoder([[0.0, 1.0], [number, 0.0]]), [0, 1, 1, 0])


def test_one_token_cannot_be_evaluated() -> None:
    with pytest.raises(InputError, match="two characters"):
        evaluate(ScriptedDecoder([[0.0]]), [0])
