from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest

from minigpt.config import PRESETS, GPTConfig, TrainConfig
from minigpt.errors import InputError
from minigpt.settings import (
    RunFile,
    apply_settings,
    parse_settings,
    read_run_file,
    to_toml,
)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "my run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_settings_go_to_the_config_that_has_them() -> None:
    settings = parse_settings(["n_layer=6", "learning-rate = 1e-3", "bias=False", "arch=rotary"])
    assert settings == {"n_layer": 6, "learning_rate": 1e-3, "bias": False, "arch": "rotary"}
    model, train = apply_settings(GPTConfig(), TrainConfig(), settings)
    assert model == GPTConfig(n_layer=6, bias=False, arch="rotary")
    assert train == TrainConfig(learning_rate=1e-3)


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("n_layers=6", "unknown setting 'n_layers'; the settings are accumulation, arch, "),
        ("vocab_size=9", "unknown setting 'vocab_size'"),
        ("n_layer=six", "n_layer must be a whole number, not 'six'"),
        ("bias=1", "bias must be true or false"),
        (f"max_steps={10**400}", "max_steps must be below"),
        (f"dropout={10**400}", "dropout must be below"),
        (f"seed={'[' * 100_000}", "seed must be a whole number"),
        ("n_layer", "key=value"),
    ],
)
def test_wrong_settings_are_refused(pair: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_settings([pair])


def test_values_out_of_range_are_refused_once_all_are_there() -> None:
    with pytest.raises(InputError, match="n_head"):
        apply_settings(GPTConfig(), TrainConfig(), {"n_head": 3})
    model, _ = apply_settings(GPTConfig(), TrainConfig(), {"n_head": 3, "n_embd": 48})
    assert (model.n_head, model.n_embd) == (3, 48)


@pytest.mark.parametrize(
    "text",
    [
        "n_layer = 6\nlearning_rate = 1\n",
        "learning-rate = 1.0\n[model]\nn-layer = 6\n",
        "\ufeff# with a byte order mark\r\n[train]\r\nlearning_rate = 1\r\n[model]\r\nn_layer=6",
        "model = {n_layer = 6}\ntrain.learning_rate = 1e0\n",
    ],
)
def test_a_run_file_is_flat_or_has_two_tables(tmp_path: Path, text: str) -> None:
    file = read_run_file(written(tmp_path, text))
    assert file == RunFile(None, {"n_layer": 6, "learning_rate": 1.0})
    assert isinstance(file.settings["learning_rate"], float)


def test_a_run_file_may_name_a_preset(tmp_path: Path) -> None:
    assert read_run_file(written(tmp_path, 'preset = "tiny"')) == RunFile("tiny", {})


def test_a_run_file_may_name_a_model_to_begin_with(tmp_path: Path) -> None:
    name = 'models/"mine"\\\x7fé.onnx'
    text = to_toml(GPTConfig(), TrainConfig(), name)
    assert read_run_file(written(tmp_path, text)).start == name
    with pytest.raises(InputError, match="from must be a text, not 3"):
        read_run_file(written(tmp_path, "from = 3"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("n_layer 6", "not a TOML file: .* line 1"),
        ("n_layer = 6\nn_layer = 7", "not a TOML file"),
        ("n = " + "[" * 100_000, "not a TOML file"),
        (f"seed = {'9' * 5000}", "not a TOML file"),
        (f"seed = {10**400}", "seed must be below"),
        ("n_layers = 6", "unknown setting 'n_layers'; the settings are accumulation, arch, "),
        ("[model]\nmax_steps = 6", r"'max_steps' in \[model\]; the settings are arch, bias, "),
        ("[optimizer]\nbeta1 = 0.9", "unknown setting 'optimizer'"),
        ("vocab_size = 65", "unknown setting 'vocab_size'"),
        ('n_layer = "6"', "n_layer must be a whole number, not '6'"),
        ("n_layer = 6.0", "n_layer must be a whole number, not 6.0"),
        ("bias = 1", "bias must be true or false, not 1"),
        ("arch = 1979-05-27", "arch must be a text"),
        ("model = 6", "model must be a table"),
        ("[[train]]", "train must be a table"),
        ("n-layer = 6\nn_layer = 6", "n_layer is given twice"),
        ("n_layer = 6\n[model]\nn_layer = 6", "n_layer is given twice"),
        ('preset = "huge"', "unknown preset 'huge'; choose one of tiny, laptop"),
        ("preset = 1", "preset must be a text"),
    ],
)
def test_wrong_run_files_are_refused_by_name(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError, match=rf"my run\.toml.*{words}"):
        read_run_file(written(tmp_path, text))


def test_files_that_are_no_run_files_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.toml does not exist"):
        read_run_file(tmp_path / "no.toml")
    with pytest.raises(InputError, match="is a folder"):
        read_run_file(tmp_path)
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"bytes\.toml is not a TOML file"):
        read_run_file(tmp_path / "bytes.toml")


@pytest.mark.parametrize("name", PRESETS)
def test_a_written_run_file_is_read_to_the_last_digit(tmp_path: Path, name: str) -> None:
    model = replace(PRESETS[name].model, dropout=0.1 + 0.2)
    train = replace(PRESETS[name].train, learning_rate=1 / 3, weight_decay=1e-30, seed=2**63 - 1)
    file = read_run_file(written(tmp_path, to_toml(model, train)))
    assert file.preset is None
    assert apply_settings(GPTConfig(), TrainConfig(), file.settings) == (model, train)
    # nothing is left to a default, which may be another one tomorrow
    known = {f.name for config in (model, train) for f in fields(config)}
    assert set(file.settings) == known - {"vocab_size"}
    assert asdict(train).items() <= file.settings.items()
