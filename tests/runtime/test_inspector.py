"""What is seen inside a model is what PyTorch computes, and what the decoder says."""

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from minigpt.config import GPTConfig
from minigpt.errors import InputError
from minigpt.runtime import load
from minigpt.runtime.inspector import Floats, Inspector
from minigpt.runtime.library import find_model
from minigpt.runtime.onnx_decoder import OnnxDecoder
from minigpt.runtime.onnx_file import OnnxFile, open_onnx
from minigpt.runtime.onnx_graph import LARGE_VOCABULARY
from minigpt.tokenizer import CharTokenizer
from tests.conftest import CARD, SMALL

if TYPE_CHECKING:
    from torch import Tensor

    from minigpt.model import GPT
    from minigpt.runtime.onnx_graph import Precision

VARIATIONS = [
    {},
    {"arch": "rotary", "n_head": 1},
    {"arch": "rotary", "n_embd": 48, "n_head": 3, "n_layer": 3},
    {"qkv_bias": False, "n_layer": 1},
    {"tie_weights": False},
    {"bias": False, "qkv_bias": False},
    {"arch": "rotary", "n_embd": 32, "bias": False, "qkv_bias": False, "tie_weights": False},
]


@pytest.fixture(scope="module")
def laptop() -> OnnxFile:
    return open_onnx(find_model("laptop"))


def exported(config: GPTConfig, precision: "Precision" = "fp32") -> "tuple[GPT, OnnxFile]":
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from minigpt_export.graph import build_graph
    from tests.models import random_gpt

    model = random_gpt(config)
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    content = build_graph(config, weights, precision).SerializeToString()
    tokenizer = CharTokenizer("".join(chr(0x4E00 + i) for i in range(config.vocab_size)))
    card = replace(CARD, precision=precision)
    return model, OnnxFile(Path("x"), config, tokenizer, card, content)


def seen_by_torch(model: "GPT", tokens: list[int]) -> tuple[Floats, Floats]:
    """Attention (n_layer,H,T,T) and lens (n_layer + 1,T,V), written out in PyTorch."""
    import torch

    from minigpt.model import Block

    maps: list[Tensor] = []
    streams: list[Tensor] = []

    def attend(q: "Tensor", k: "Tensor", v: "Tensor") -> "Tensor":
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        maps.append(scores.masked_fill(hidden, -math.inf).softmax(dim=-1))
        return maps[-1] @ v

    for i, block in enumerate(model.h):
        assert isinstance(block, Block)
        block.attn.attend = attend
        if i == 0:
            block.register_forward_pre_hook(lambda _, inputs: streams.append(inputs[0]))
        block.register_forward_hook(lambda _, __, output: streams.append(output))
    with torch.no_grad():
        model(torch.tensor([tokens]))
        lens = model.lm_head(model.ln_f(torch.cat(streams)))
    return torch.cat(maps).numpy(), lens.numpy()


@pytest.mark.parametrize("change", VARIATIONS)
def test_it_sees_what_pytorch_computes(change: dict[str, object]) -> None:
    config = replace(SMALL, vocab_size=23, **change)  # type: ignore[arg-type]
    model, file = exported(config)
    inspector = Inspector(file)
    for length in (1, 2, config.block_size):
        tokens = np.random.default_rng(length).integers(0, 23, length).tolist()
        attention, lens = seen_by_torch(model, tokens)
        seen = inspector.look(tokens)
        assert seen.tokens == tuple(tokens)
        np.testing.assert_allclose(seen.attention, attention, atol=1e-5)
        np.testing.assert_allclose(seen.lens, lens, atol=1e-4)


@pytest.mark.parametrize("precision", ["fp16", "int8", "int4"])
@pytest.mark.parametrize("change", [{}, {"vocab_size": LARGE_VOCABULARY, "arch": "rotary"}])
def test_it_sees_models_of_fewer_bits(change: dict[str, object], precision: "Precision") -> None:
    config = replace(SMALL, n_embd=32, **change)  # type: ignore[arg-type]
    _, file = exported(config, precision)
    tokens = np.random.default_rng(0).integers(0, config.vocab_size, config.block_size).tolist()
    seen = Inspector(file).look(tokens)
    np.testing.assert_allclose(seen.attention.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(seen.lens[-1], OnnxDecoder(file).feed(tokens), atol=1e-4)


def test_a_real_model_shows_the_logits_that_it_decodes(laptop: OnnxFile) -> None:
    tokens = laptop.tokenizer.encode("ROMEO:\nO, speak again, bright angel! for thou art")
    seen = Inspector(laptop).look(tokens)
    T, config = len(tokens), laptop.config
    assert seen.attention.shape == (config.n_layer, config.n_head, T, T)
    assert seen.lens.shape == (config.n_layer + 1, T, config.vocab_size)
    np.testing.assert_allclose(seen.attention.sum(-1), 1, atol=1e-5)
    assert not np.triu(seen.attention, 1).any()  # no position looks ahead
    np.testing.assert_allclose(seen.lens[-1], OnnxDecoder(laptop).feed(tokens), atol=1e-4)


def test_a_look_does_not_depend_on_the_one_before(laptop: OnnxFile) -> None:
    inspector = Inspector(laptop)
    first = inspector.look([1, 2, 3])
    inspector.look([5] * laptop.config.block_size)
    again = inspector.look([1, 2, 3])
    np.testing.assert_array_equal(first.attention, again.attention)
    np.testing.assert_array_equal(first.lens, again.lens)


def test_the_ladder_has_the_likeliest_tokens_of_every_rung(laptop: OnnxFile) -> None:
    seen = Inspector(laptop).look(laptop.tokenizer.encode("ROMEO:\nO, spea"))
    ladder = seen.ladder(-1, 3)
    assert len(ladder) == laptop.config.n_layer + 1
    assert laptop.tokenizer.decode([ladder[-1][0][0]]) == "k"
    for rung, row in zip(ladder, seen.lens[:, -1], strict=True):
        assert [token for token, _ in rung] == np.argsort(-row)[:3].tolist()
        p = np.exp(row) / np.exp(row).sum()
        assert [value for _, value in rung] == pytest.approx([p[token] for token, _ in rung])


@pytest.mark.parametrize("bad", [[], [65], [-1], [0] * 65])
def test_bad_tokens_never_reach_onnxruntime(laptop: OnnxFile, bad: list[int]) -> None:
    with pytest.raises(ValueError, match="token"):
        Inspector(laptop).look(bad)


def test_what_takes_too_much_memory_is_refused(
    laptop: OnnxFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspector = Inspector(laptop)
    config = laptop.config
    of_ten = 4 * (16 * 10 * 10 + (config.n_layer + 1) * 10 * (config.vocab_size + 1))
    monkeypatch.setattr("minigpt.runtime.inspector.MAX_DECODER_BYTES", of_ten)
    inspector.look([0] * 10)
    with pytest.raises(InputError, match="look at fewer"):
        inspector.look([0] * 11)


def test_numbers_that_are_none_are_told() -> None:
    model, file = exported(SMALL)
    norm = model.ln_f.weight.detach().numpy()
    assert file.content.count(norm.tobytes()) == 1
    content = file.content.replace(norm.tobytes(), np.full_like(norm, np.nan).tobytes())
    with pytest.raises(InputError, match="x is damaged"):
        Inspector(replace(file, content=content)).look([0, 1])


def test_a_model_shows_the_end_of_a_text() -> None:
    model = load("laptop")
    window = model.config.block_size
    text = "To be, or not to be, that is the question:\n" * 3
    assert model.inspect("€" + text).tokens == tuple(model.tokenizer.encode(text)[-window:])
    with pytest.raises(InputError, match="no character"):
        model.inspect("€")


def test_a_file_that_is_another_one_by_now_is_not_shown(small_onnx: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(small_onnx.read_bytes())
    model = load(path)
    model.inspect("abc")
    path.write_bytes(find_model("laptop").read_bytes())
    with pytest.raises(InputError, match="open it again"):
        model.inspect("abc")
    path.unlink()
    with pytest.raises(InputError, match=r"model\.onnx"):
        model.inspect("abc")


def test_a_checkpoint_is_told_to_be_exported() -> None:
    model = replace(load("laptop"), path=Path("checkpoints/book"), checksum="")
    with pytest.raises(InputError, match="export"):
        model.inspect("abc")
