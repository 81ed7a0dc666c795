import math
from dataclasses import replace

import pytest

pytest.importorskip("torch")

import torch
import torch.nn.functional as F
from torch import Tensor

from minigpt.config import PRESETS, GPTConfig
from minigpt.model import (
    GPT,
    CausalSelfAttention,
    Dropout,
    KVCache,
    LayerNorm,
    fused_attention,
    plain_attention,
    rotary_tables,
    rotate,
)
from tests.models import random_gpt

SHAPES = [
    GPTConfig(n_layer=2, n_head=2, n_embd=16, block_size=16, vocab_size=11),
    GPTConfig(n_layer=2, n_head=2, n_embd=32, block_size=16, vocab_size=11, arch="rotary"),
    GPTConfig(n_layer=1, n_head=1, n_embd=8, block_size=16, vocab_size=11, bias=False,
              qkv_bias=False),
    GPTConfig(n_layer=2, n_head=2, n_embd=16, block_size=16, vocab_size=11, qkv_bias=False,
              tie_weights=False),
]  # fmt: skip


def tokens(config: GPTConfig, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    ids: Tensor = torch.randint(config.vocab_size, shape, generator=generator)
    return ids


@pytest.mark.parametrize("config", [*SHAPES, *(p.model for p in PRESETS.values())])
def test_the_counted_parameters_are_the_model_s(config: GPTConfig) -> None:
    assert sum(p.numel() for p in GPT(config).parameters()) == config.n_params()


@pytest.mark.parametrize("past", [0, 1, 5])
@pytest.mark.parametrize("new", [1, 3, 8])
def test_fused_attention_equals_the_plain_one(past: int, new: int) -> None:
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(2, 3, new, 8, generator=generator)
    k, v = torch.randn(2, 2, 3, past + new, 8, generator=generator)
    torch.testing.assert_close(fused_attention(q, k, v), plain_attention(q, k, v))


@pytest.mark.parametrize("config", SHAPES)
def test_the_model_is_the_same_with_plain_attention(config: GPTConfig) -> None:
    model, x = random_gpt(config), tokens(config, 2, 16)
    fused = model(x)
    for module in model.modules():
        if isinstance(module, CausalSelfAttention):
            module.attend = plain_attention
    torch.testing.assert_close(model(x), fused)


def test_layer_norm_is_its_formula() -> None:
    norm = LayerNorm(GPTConfig(n_embd=8, n_head=1))
    with torch.no_grad():
        norm.weight.copy_(torch.arange(8))
        assert norm.bias is not None
        norm.bias.fill_(3.0)
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
    expected = (x - mean) / (variance + 1e-5).sqrt() * torch.arange(8) + 3
    torch.testing.assert_close(norm(x), expected)


def test_rotation_makes_scores_depend_on_distance_alone() -> None:
    config = GPTConfig(arch="rotary", n_embd=16, n_head=1, block_size=32)
    cos, sin = rotary_tables(config)
    q, k = torch.randn(2, 1, 1, 1, 16, generator=torch.Generator().manual_seed(0))

    def score(at_q: int, at_k: int) -> float:
        turned_q = rotate(q, cos[at_q : at_q + 1], sin[at_q : at_q + 1])
        turned_k = rotate(k, cos[at_k : at_k + 1], sin[at_k : at_k + 1])
        return float((turned_q * turned_k).sum())

    assert score(20, 17) == pytest.approx(score(5, 2), abs=1e-5)
    assert score(20, 17) != pytest.approx(score(20, 10), abs=1e-3)


def test_a_pair_turns_by_its_angle() -> None:
    config = GPTConfig(arch="rotary", n_embd=16, n_head=1, block_size=32)
    cos, sin = rotary_tables(config)
    x = torch.zeros(1, 1, 1, 16)
    x[..., 0], x[..., 8] = 3.0, 4.0  # the pair (0, 8) turns by the position itself
    turned = rotate(x, cos[2:3], sin[2:3]).flatten()
    assert turned[0].item() == pytest.approx(3 * math.cos(2) - 4 * math.sin(2))
    assert turned[8].item() == pytest.approx(3 * math.sin(2) + 4 * math.cos(2))


@pytest.mark.parametrize("config", SHAPES)
def test_no_position_looks_ahead(config: GPTConfig) -> None:
    model, x = random_gpt(config), tokens(config, 1, 16)
    before = model(x)
    for t in range(16):
        changed = x.clone()
        changed[0, t] = (x[0, t] + 1) % config.vocab_size
        after = model(changed)
        assert torch.equal(after[0, :t], before[0, :t])
        assert not torch.equal(after[0, t], before[0, t])


@pytest.mark.parametrize("preset", PRESETS)
def test_the_first_loss_is_that_of_a_uniform_guess(preset: str) -> None:
    config = replace(PRESETS[preset].model, vocab_size=65)
    torch.manual_seed(1337)
    model, x = GPT(config), tokens(config, 8, config.block_size + 1)
    loss = F.cross_entropy(model(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten()).item()
    assert 4.17 <= loss <= 4.30


@pytest.mark.parametrize("config", SHAPES)
def test_every_parameter_gets_a_gradient(config: GPTConfig) -> None:
    model, x = random_gpt(config).requires_grad_(), tokens(config, 4, 16)
    F.cross_entropy(model(x).flatten(0, 1), x.flatten()).backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("config", SHAPES)
@pytest.mark.parametrize("cuts", [[1] * 16, [5, 1, 1, 6, 3], [16], [15, 1]])
def test_the_cache_changes_nothing(config: GPTConfig, cuts: list[int]) -> None:
    model, x, cache = random_gpt(config), tokens(config, 1, 16), KVCache(config)
    logits = torch.cat([model(part, cache) for part in torch.split(x, cuts, dim=1)], dim=1)
    assert cache.length == 16
    torch.testing.assert_close(logits, model(x), atol=1e-5, rtol=0)


def test_forgetting_is_lowering_the_length() -> None:
    config = SHAPES[1]
    model, x, cache = random_gpt(config), tokens(config, 1, 16), KVCache(config)
    model(x, cache)
    cache.length = 7
    again = model(x[:, 7:], cache)
    torch.testing.assert_close(again, model(x)[:, 7:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("arch", ["gpt2", "rotary"])
def test_2000_greedy_tokens_are_those_of_the_uncached_model(arch: str) -> None:
    config = GPTConfig(
        arch=arch, n_layer=2, n_head=2, n_embd=32, block_size=2048, vocab_size=65, dropout=0.1
    )
    model, cache = random_gpt(config), KVCache(config)
    text = tokens(config, 1, 10)
    row = model(text, cache)[:, -1]
    cached = [row]
    for _ in range(2000):
        text = torch.cat((text, row.argmax(-1, keepdim=True)), dim=1)
        row = model(text[:, -1:], cache)[:, -1]
        cached.append(row)
    # One pass over the final text gives what the uncached model says after every prefix of it,
    # since no position looks ahead: if its choices are the text, greedy decoding takes them all.
    uncached = model(text)[:, 9:]
    torch.testing.assert_close(torch.stack(cached, dim=1), uncached, atol=1e-5, rtol=0)
    assert torch.equal(uncached[:, :-1].argmax(-1), text[:, 10:])


def test_more_than_the_window_is_refused() -> None:
    config = SHAPES[0]
    with pytest.raises(ValueError, match="block_size 16"):
        GPT(config)(tokens(config, 1, 17))


def test_dropout_acts_in_training_only() -> None:
    config = replace(SHAPES[0], dropout=0.5)
    model, x = random_gpt(config), tokens(config, 1, 16)
    assert torch.equal(model(x), model(x))
    model.train()
    assert not torch.equal(model(x), model(x))


@pytest.mark.parametrize("share", [0.001, 0.15, 0.5, 0.9])
def test_dropout_leaves_out_a_share_and_makes_up_for_it(share: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(401, 251, requires_grad=True)  # no whole number of draws
    y = Dropout(share)(x)
    in_256ths = max(1, round(256 * share)) / 256
    left_out = (y.detach().flatten()[:-3] == 0).double().view(-1, 8)  # the eight of each draw
    deviation = (in_256ths * (1 - in_256ths) / len(left_out)) ** 0.5
    assert (left_out.mean(0) - in_256ths).abs().max() < 5 * deviation
    both = (left_out[:, 1:] * left_out[:, :-1]).mean(0)  # none hangs on its neighbour
    assert (both - in_256ths**2).abs().max() < 5 * deviation
    assert y.unique().tolist() == pytest.approx([0.0, 1 / (1 - in_256ths)])
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(y, gradient)


def test_attention_is_in_float32_while_the_rest_is_in_bfloat16() -> None:
    q, k, v = (torch.randn(2, 2, 8, 8).bfloat16() for _ in range(3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = fused_attention(q, k, v)
    assert found.dtype == torch.float32
    wanted = plain_attention(q.float(), k.float(), v.float())
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_a_fresh_block_adds_nothing() -> None:
    model = GPT(SHAPES[0])
    x = torch.randn(1, 4, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model.h[0](x, None, 0), x)
