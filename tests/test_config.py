import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from minigpt.config import (
    PRESETS,
    GPTConfig,
    TrainConfig,
    find_preset,
    fine_tuning,
    from_json,
    to_json,
)
from minigpt.errors import InputError
from minigpt.runtime.library import find_model
from minigpt.runtime.onnx_file import read_card
from minigpt.settings import apply_settings, read_run_file


@pytest.mark.parametrize(("preset", "n_params"), [("tiny", 209_729), ("shakespeare", 10_788_929)])
def test_presets_have_the_published_sizes(preset: str, n_params: int) -> None:
    assert replace(PRESETS[preset].model, vocab_size=65).n_params() == n_params


def test_fine_tuning_takes_three_passes_and_at_least_ten_steps() -> None:
    config = fine_tuning(90_000, 64)
    assert config.max_steps * config.batch_size * 64 == pytest.approx(3 * 90_000, rel=0.01)
    assert config.eval_interval == -(-config.max_steps // 10)
    assert fine_tuning(100, 64).max_steps == 10
    given = fine_tuning(100, 64, 150)
    assert (given.max_steps, given.eval_interval) == (150, 15)


def test_laptop_preset_has_about_0_8_million_parameters() -> None:
    assert 750_000 <= replace(PRESETS["laptop"].model, vocab_size=65).n_params() <= 850_000


@pytest.mark.parametrize(("name", "preset"), [("shakespeare", "evening"), ("laptop", "laptop")])
def test_the_models_that_ship_are_of_presets(name: str, preset: str) -> None:
    config, card, _ = read_card(find_model(name))
    assert config == replace(PRESETS[preset].model, vocab_size=65)
    assert card.steps == PRESETS[preset].train.max_steps


@pytest.mark.parametrize(
    ("run", "name"), [("shakespeare", "evening"), ("shakespeare-10M", "shakespeare")]
)
def test_the_runs_that_were_measured_are_of_presets(run: str, name: str) -> None:
    path = Path(__file__).parent.parent / "benchmarks" / run / "run.toml"
    if not path.exists():
        pytest.skip("only a checkout has it")
    model, train = apply_settings(GPTConfig(), TrainConfig(), read_run_file(path).settings)
    preset = PRESETS[name]
    # the larger one is measured with rotations and no biases
    of_preset = replace(preset.model, arch="rotary", bias=False, qkv_bias=False, vocab_size=65)
    assert replace(model, vocab_size=65) == of_preset
    # both were trained before there was an average
    assert train.ema_decay == 0
    others = {"eval_tokens": preset.train.eval_tokens, "ema_decay": preset.train.ema_decay}
    assert replace(train, **others) == preset.train  # type: ignore[arg-type]


def test_gpt2_small_has_its_published_size() -> None:
    config = GPTConfig(n_layer=12, n_head=12, n_embd=768, block_size=1024, vocab_size=50257)
    assert config.n_params() == 124_439_808


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("arch", "lstm"),
        ("n_layer", 0),
        ("n_layer", 301),
        ("vocab_size", -1),
        ("dropout", 1.0),
        ("n_head", 3),
        ("block_size", 0),
    ],
)
def test_impossible_shapes_are_refused(field: str, value: object) -> None:
    with pytest.raises(InputError, match=field):
        replace(GPTConfig(), **{field: value})  # type: ignore[arg-type]


def test_rotary_needs_heads_that_onnxruntime_can_turn() -> None:
    with pytest.raises(InputError, match=r"multiple of 16 \* n_head"):
        GPTConfig(arch="rotary", n_embd=32, n_head=4)


def test_json_round_trip() -> None:
    config = replace(PRESETS["shakespeare"].model, vocab_size=99)
    assert from_json(GPTConfig, to_json(config)) == config


@pytest.mark.parametrize(
    "change",
    [{"n_layer": "4"}, {"n_layer": 4.5}, {"bias": 1}, {"new_field": 1}, {"n_embd": True},
     {"dropout": 10**400}],
)  # fmt: skip
def test_json_of_another_type_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InputError):
        from_json(GPTConfig, json.dumps(json.loads(to_json(GPTConfig())) | change))


@pytest.mark.parametrize(
    "change",
    [{"learning_rate": math.inf}, {"weight_decay": math.nan}, {"seed": 2**63}, {"beta1": 1.0},
     {"max_steps": 0}, {"patience": -1}, {"muon_learning_rate": -1.0}, {"momentum": 1.0}],
)  # fmt: skip
def test_impossible_trainings_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(change))):
        replace(TrainConfig(), **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "[" * 100_000])
def test_damaged_json_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="damaged"):
        from_json(GPTConfig, text)


def test_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="tiny, laptop, evening, shakespeare"):
        find_preset("gigantic")
