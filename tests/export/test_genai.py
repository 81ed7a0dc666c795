"""The real onnxruntime-genai on the folder that is written for it."""

import json
import os
from pathlib import Path
from typing import Any

# before onnxruntime and genai are imported: both report home else
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

import onnxruntime as ort
import torch

from minigpt.config import GPTConfig
from minigpt.files import write_folder_atomically
from minigpt.model import GPT
from minigpt.runtime.generation import generate
from minigpt.runtime.library import load
from minigpt.runtime.model import Model
from minigpt.runtime.onnx_decoder import OnnxDecoder
from minigpt.runtime.onnx_file import OnnxFile
from minigpt.runtime.onnx_graph import PRECISIONS, Precision
from minigpt.runtime.params import SamplingParams
from minigpt.tokenizer import END_OF_TEXT, CharTokenizer
from minigpt_export.genai import MODEL, genai_files
from minigpt_export.graph import NEVER, build_graph
from minigpt_export.onnx_export import build_file
from tests.conftest import CARD

TEXT = "Où est l'été — là?\nЖ 漢字 😀, <here>"
TOKENIZER = CharTokenizer.from_text(TEXT)
ARCHITECTURES = ("gpt2", "rotary")


def random_model(arch: str, *, tied: bool = False) -> GPT:
    """With arch "gpt2" it has biases; smaller ones than `random_gpt`'s, for a text that varies."""
    config = GPTConfig(
        arch=arch, n_layer=2, n_head=2, n_embd=64, block_size=160,
        vocab_size=TOKENIZER.vocab_size, bias=arch == "gpt2", tie_weights=tied,
    )  # fmt: skip
    torch.manual_seed(0)
    model = GPT(config).eval()
    for name, parameter in model.named_parameters():
        scales = parameter.dim() == 1 and name.endswith("weight")  # of a norm
        torch.nn.init.normal_(parameter, mean=float(scales), std=0.3)
    return model


def bare_file(arch: str, precision: Precision = "fp32", *, tied: bool = False) -> OnnxFile:
    """The graph of `random_model` without metadata, which no other runtime reads."""
    model = random_model(arch, tied=tied)
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    proto = build_graph(model.config, weights, precision)
    return OnnxFile(Path("x"), model.config, TOKENIZER, CARD, proto.SerializeToString())


@pytest.fixture(scope="module")
def genai() -> Any:
    return pytest.importorskip("onnxruntime_genai")


def greedy(model: Model, prompt: str, n: int) -> list[int]:
    """As genai reads, a token a pass: in 8 bits a random model's near ties may else fall
    the other way, see `Reader`."""
    params = SamplingParams(temperature=0.0, max_new_tokens=n)
    ids = model.tokenizer.encode(prompt)
    return [t.id for t in generate(model.decoder, model.tokenizer, ids, lambda: params)]


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_genai_writes_the_same_greedy_text(
    genai: Any, tmp_path: Path, arch: str, precision: Precision
) -> None:
    file, _ = build_file(
        random_model(arch), TOKENIZER, CARD, 4 * TEXT, Path("x"), precision=precision, force=True
    )
    write_folder_atomically(tmp_path / "genai", genai_files(file))
    model = genai.Model(str(tmp_path / "genai"))
    tokenizer = genai.Tokenizer(model)
    prompt = TEXT[:28]
    assert list(tokenizer.encode(TEXT)) == TOKENIZER.encode(TEXT)
    assert tokenizer.decode(TOKENIZER.encode(TEXT)) == TEXT
    generator = genai.Generator(model, genai.GeneratorParams(model))
    generator.append_tokens(tokenizer.encode(prompt))
    theirs = []
    while not generator.is_done():
        generator.generate_next_token()
        theirs.append(int(generator.get_next_tokens()[0]))
    assert theirs == greedy(load(tmp_path / "genai" / MODEL), prompt, len(theirs))
    assert len(theirs) == 160 - 28
    assert len(set(theirs)) > 4  # a text, not one character over and over


def test_genai_draws_too(genai: Any, tmp_path: Path) -> None:
    """Its default top_k is an error for a vocabulary as small as ours."""
    write_folder_atomically(tmp_path / "genai", genai_files(bare_file("rotary")))
    model = genai.Model(str(tmp_path / "genai"))
    params = genai.GeneratorParams(model)
    params.set_search_options(do_sample=True, temperature=2.0, random_seed=1)
    generator = genai.Generator(model, params)
    generator.append_tokens(TOKENIZER.encode(TEXT))
    while not generator.is_done():
        generator.generate_next_token()
    drawn = generator.get_sequence(0)
    assert len(drawn) == 160
    assert max(drawn) < TOKENIZER.vocab_size


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_names_shapes_and_types_are_the_convention(arch: str) -> None:
    file = bare_file(arch)
    session = ort.InferenceSession(file.content)
    new = ["batch_size", "sequence_length"]
    sides = [f"{i}.{side}" for i in range(2) for side in ("key", "value")]
    # heads and their width as numbers: transformers.js takes a symbol there for 0
    past = ["batch_size", 2, "past_sequence_length", 32]
    present = ["batch_size", 2, "total_sequence_length", 32]
    assert [(each.name, each.type, each.shape) for each in session.get_inputs()] == [
        ("input_ids", "tensor(int64)", new),
        ("attention_mask", "tensor(int64)", ["batch_size", "total_sequence_length"]),
        ("position_ids", "tensor(int64)", new),
        *((f"past_key_values.{side}", "tensor(float)", past) for side in sides),
    ]
    assert [(each.name, each.type, each.shape) for each in session.get_outputs()] == [
        ("logits", "tensor(float)", [*new, TOKENIZER.vocab_size + 1]),
        *((f"present.{side}", "tensor(float)", present) for side in sides),
    ]


def raw_logits(file: OnnxFile, ids: list[int]) -> npt.NDArray[np.float32]:
    """As optimum and transformers.js run it: an empty past, a growing mask, all columns."""
    inputs: dict[str, npt.NDArray[np.generic]] = {
        "input_ids": np.array([ids]),
        "attention_mask": np.ones((1, len(ids)), np.int64),
        "position_ids": np.arange(len(ids))[None],
    }
    for i in range(2):
        for side in ("key", "value"):
            inputs[f"past_key_values.{i}.{side}"] = np.zeros((1, 2, 0, 32), np.float32)
    logits = ort.InferenceSession(file.content).run(["logits"], inputs)[0]
    return np.asarray(logits[0])


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("tied", [False, True])
def test_end_of_text_is_read_but_never_written(arch: str, precision: Precision, tied: bool) -> None:
    file = bare_file(arch, precision, tied=tied)
    ids = [*TOKENIZER.encode(TEXT), TOKENIZER.vocab_size]
    logits = raw_logits(file, ids)
    assert np.isfinite(logits).all()
    assert (logits[:, -1] == NEVER).all()
    assert np.abs(logits[:, :-1]).max() < 100
    ours = OnnxDecoder(file).feed(ids[:-1])
    np.testing.assert_allclose(ours, logits[:-1, :-1], atol=1e-5)


def test_the_folder_says_what_the_file_says() -> None:
    file = bare_file("gpt2")
    files = genai_files(file)
    assert files[MODEL] == file.content
    assert CharTokenizer.from_json(files["tokenizer.json"].decode()) == TOKENIZER
    forms = {name: json.loads(files[name]) for name in files if name != MODEL}
    end = TOKENIZER.vocab_size
    genai, config = forms["genai_config.json"], forms["config.json"]
    for form in (genai["model"], config, forms["generation_config.json"]):
        assert {form[f"{side}_token_id"] for side in ("bos", "eos", "pad")} == {end}
    assert genai["model"]["vocab_size"] == config["vocab_size"] == end + 1
    assert (config["n_layer"], config["n_head"], config["n_embd"], config["n_positions"]) == (
        2, 2, 64, 160
    )  # fmt: skip
    assert forms["tokenizer_config.json"]["eos_token"] == END_OF_TEXT
    assert forms["tokenizer.json"]["added_tokens"][0]["id"] == end
