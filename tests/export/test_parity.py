import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

import torch
from onnx import checker

from minigpt.config import PRESETS, GPTConfig
from minigpt.corpus import Corpus
from minigpt.errors import InputError
from minigpt.runtime import onnx_file
from minigpt.runtime.cuda_decoder import CudaDecoder
from minigpt.runtime.evaluation import evaluate
from minigpt.runtime.generation import generate
from minigpt.runtime.library import load
from minigpt.runtime.onnx_decoder import OnnxDecoder
from minigpt.runtime.onnx_file import OnnxFile, check_fits, open_onnx
from minigpt.runtime.onnx_graph import (
    BITS_AND_BLOCK,
    CONTRIB,
    CONTRIB_OPERATORS,
    PRECISIONS,
    Precision,
)
from minigpt.runtime.onnx_walk import MAX_METADATA_BYTES
from minigpt.runtime.params import SamplingParams
from minigpt.tokenizer import CharTokenizer
from minigpt.torch_decoder import TorchDecoder
from minigpt_export.graph import build_graph, read_weights
from minigpt_export.onnx_export import export_onnx
from minigpt_export.parity import MAX_LOSS_INCREASE, compare
from minigpt_export.quantize import dequantize, quantize
from tests.conftest import CARD, SMALL
from tests.models import random_gpt

VARIATIONS = [
    {},
    {"arch": "rotary", "n_head": 1},
    {"qkv_bias": False},
    {"tie_weights": False},
    {"bias": False, "qkv_bias": False},
    {"n_head": 4, "n_embd": 32},
    {"arch": "rotary", "n_embd": 32, "bias": False, "qkv_bias": False, "tie_weights": False},
]


def exported(config: GPTConfig, precision: Precision = "fp32") -> tuple[TorchDecoder, OnnxFile]:
    model = random_gpt(config)
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    proto = build_graph(config, weights, precision)
    checker.check_model(proto)
    for node in proto.graph.node:
        assert node.domain == (CONTRIB if node.op_type in CONTRIB_OPERATORS else "")
    tokenizer = CharTokenizer("".join(chr(ord("0") + i) for i in range(config.vocab_size)))
    card = replace(CARD, precision=precision)
    file = OnnxFile(Path("x"), config, tokenizer, card, proto.SerializeToString())
    return TorchDecoder(model), file


@pytest.mark.parametrize("variation", VARIATIONS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_weights_of_a_file_can_be_read_again(
    variation: dict[str, object], precision: Precision
) -> None:
    config = replace(SMALL, **variation)  # type: ignore[arg-type]
    weights = dict(random_gpt(config).named_parameters())
    found = read_weights(exported(config, precision)[1])
    assert {k: v.shape for k, v in found.items()} == {k: tuple(v.shape) for k, v in weights.items()}
    for name, weight in weights.items():
        expected = weight.detach().numpy()
        is_quantized = precision in BITS_AND_BLOCK and name.startswith("h.")
        if is_quantized and expected.ndim == 2:
            bits, block = BITS_AND_BLOCK[precision]
            quantized = quantize(expected, bits=bits, block_size=block)
            expected = dequantize(quantized, expected.shape[1])
        is_half = precision != "fp32" and expected.ndim == 2 and not is_quantized
        np.testing.assert_allclose(found[name], expected, rtol=1e-3 if is_half else 0, atol=1e-6)


def decoders(config: GPTConfig, precision: Precision = "fp32") -> tuple[TorchDecoder, OnnxDecoder]:
    reference, file = exported(config, precision)
    return reference, OnnxDecoder(file)


@pytest.mark.parametrize("change", VARIATIONS)
def test_every_variation_is_the_same_in_both(change: dict[str, object]) -> None:
    config = replace(SMALL, vocab_size=23, **change)  # type: ignore[arg-type]
    reference, candidate = decoders(config)
    ids = np.random.default_rng(0).integers(0, 23, 70).tolist()
    report = compare(reference, candidate, CharTokenizer("0123456789abcdefghijklm"), ids)
    assert report.passed, report
    assert report.loss_before == pytest.approx(report.loss_after, abs=1e-5)
    assert report.kl_divergence == pytest.approx(0, abs=1e-6)
    assert report.max_logit_difference < 1e-5
    assert report.top1_agreement == 1.0
    assert report.positions == 69


@pytest.mark.parametrize("change", VARIATIONS)
def test_every_variation_is_nearly_the_same_with_attention_in_halves(
    change: dict[str, object],
) -> None:
    reference, file = exported(replace(SMALL, vocab_size=23, **change))  # type: ignore[arg-type]
    ids = np.random.default_rng(0).integers(0, 23, 70).tolist()
    chars = CharTokenizer("0123456789abcdefghijklm")
    report = compare(reference, CudaDecoder(file, device="cpu"), chars, ids)
    assert 0 < report.max_logit_difference < 5e-3
    assert report.kl_divergence < 1e-5


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_the_same_in_both(preset: str, corpus: Corpus) -> None:
    tokenizer = CharTokenizer.from_text(corpus.text)
    config = replace(PRESETS[preset].model, vocab_size=tokenizer.vocab_size, dropout=0.0)
    torch.manual_seed(0)
    reference, candidate = decoders(config)
    ids = tokenizer.encode(corpus.text[: 2 * config.block_size])
    reference.rewind(0)
    candidate.rewind(0)
    for start in (0, config.block_size):
        window = ids[start : start + config.block_size]
        reference.rewind(0)
        candidate.rewind(0)
        np.testing.assert_allclose(candidate.feed(window), reference.feed(window), atol=1e-4)


@pytest.mark.parametrize("change", [{}, {"qkv_bias": False, "tie_weights": False}])
def test_a_layer_is_about_eight_nodes(change: dict[str, object]) -> None:
    def n_nodes(n_layer: int) -> int:
        config = replace(SMALL, n_layer=n_layer, **change)  # type: ignore[arg-type]
        weights = {k: v.numpy() for k, v in random_gpt(config).state_dict().items()}
        return len(build_graph(config, weights).graph.node)

    assert n_nodes(5) - n_nodes(4) == (9 if not change else 8)


def test_the_same_seed_writes_the_same_text_from_both(small_onnx: Path) -> None:
    params = SamplingParams(temperature=1.0, top_p=0.9, max_new_tokens=300, seed=3)
    tokenizer = CharTokenizer("abcde")
    ours = TorchDecoder(random_gpt(SMALL)), load(small_onnx).decoder
    one, two = (
        [t.id for t in generate(decoder, tokenizer, [0], lambda: params)] for decoder in ours
    )
    assert one == two


def test_the_same_loss_from_both(small_onnx: Path) -> None:
    ids = np.random.default_rng(0).integers(0, 5, 101).tolist()
    one = evaluate(TorchDecoder(random_gpt(SMALL)), ids)
    two = evaluate(load(small_onnx).decoder, ids)
    assert one == pytest.approx(two, abs=1e-6)


@pytest.mark.parametrize("arch", ["gpt2", "rotary"])
@pytest.mark.parametrize("precision", ["fp16", "int8", "int4"])
def test_fewer_bits_say_nearly_the_same(arch: str, precision: Precision) -> None:
    config = replace(SMALL, vocab_size=23, n_embd=64, arch=arch, tie_weights=arch == "gpt2")
    reference, candidate = decoders(config, precision)
    ids = np.random.default_rng(0).integers(0, 23, 400).tolist()
    report = compare(reference, candidate, CharTokenizer("0123456789abcdefghijklm"), ids, precision)
    most = {"fp16": (0.01, 1e-4), "int8": (0.5, 5e-3), "int4": (4.0, 0.2)}[precision]
    assert 0 < report.max_logit_difference < most[0]
    assert 0 < report.kl_divergence < most[1]


@pytest.mark.parametrize("precision", ["fp16", "int8", "int4"])
def test_files_of_fewer_bits_run_with_attention_in_halves(precision: Precision) -> None:
    config = replace(SMALL, vocab_size=23, n_embd=64, arch="rotary")
    _, file = exported(config, precision)
    ids = np.random.default_rng(0).integers(0, 23, 400).tolist()
    losses = [evaluate(each, ids) for each in (OnnxDecoder(file), CudaDecoder(file, device="cpu"))]
    assert losses[0] == pytest.approx(losses[1], abs=2e-3)


def test_what_the_quantized_matrices_stand_for_is_what_is_computed() -> None:
    """The file of int4 weights against PyTorch with those same weights, dequantized."""
    model = random_gpt(replace(SMALL, n_embd=64)).requires_grad_(requires_grad=False)
    weights = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    file = OnnxFile(
        Path("x"), model.config, CharTokenizer("abcde"), CARD,
        build_graph(model.config, weights, "int4").SerializeToString(),
    )  # fmt: skip
    for name, parameter in model.named_parameters():
        if name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
            q = quantize(parameter.numpy(), bits=4, block_size=32)
            parameter.copy_(torch.from_numpy(dequantize(q, parameter.shape[1])))
    ids = [0, 1, 2, 3, 4] * 3
    got, wanted = OnnxDecoder(file).feed(ids), TorchDecoder(model).feed(ids)
    # what is left is the rounding of the activations to 8 bits
    assert np.abs(got - wanted).max() < 0.05 * np.abs(wanted).max()


def test_a_precision_that_costs_too_much_is_not_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MAX_LOSS_INCREASE, "int4", -1.0)
    path = tmp_path / "x.onnx"
    arguments = random_gpt(SMALL), CharTokenizer("abcde"), CARD, "abcdecab" * 8, path
    with pytest.raises(InputError, match="int4 file would not be the model"):
        export_onnx(*arguments, precision="int4")
    assert not path.exists()
    export_onnx(*arguments, precision="int4", force=True)
    assert open_onnx(path).card.precision == "int4"


def test_what_no_file_can_hold_is_refused_before_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = GPTConfig(n_layer=24, n_head=12, n_embd=1536)
    with pytest.raises(InputError, match=r"take 2\.72 GB in fp32, and a \.onnx file holds 2\.14"):
        check_fits(large, "fp32")
    check_fits(large, "fp16")
    model = random_gpt(large_window := replace(SMALL, block_size=64))
    monkeypatch.setattr("minigpt_export.onnx_export.build_graph", None)
    for name, most, words in (
        ("MAX_FILE_BYTES", 2 * MAX_METADATA_BYTES + 100, "fp32, .*; choose another --precision"),
        ("MAX_DECODER_BYTES", 4 * large_window.block_size * large_window.n_embd, "a window of 64"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(onnx_file, name, most)
            with pytest.raises(InputError, match=words):
                export_onnx(model, CharTokenizer("abcde"), CARD, "abcde" * 8, tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


def test_the_file_carries_everything(small_onnx: Path) -> None:
    file = open_onnx(small_onnx)
    assert file.config == SMALL
    assert file.tokenizer == CharTokenizer("abcde")
    assert replace(file.card, created="") == CARD
    assert json.loads(file.parity)["first_greedy_difference"] is None
    assert file.card.created


def test_a_wrong_graph_is_not_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_gpt(SMALL)

    def build_wrong(
        config: GPTConfig, weights: dict[str, np.ndarray], precision: Precision
    ) -> object:
        key = "h.1.mlp.c_fc.bias"
        return build_graph(config, weights | {key: weights[key] + 0.01}, precision)

    monkeypatch.setattr("minigpt_export.onnx_export.build_graph", build_wrong)
    with pytest.raises(InputError, match="nothing was written"):
        export_onnx(model, CharTokenizer("abcde"), CARD, "abcdecab" * 8, tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []
