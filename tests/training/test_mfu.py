from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from torch.utils.flop_counter import FlopCounterMode

from minigpt.config import GPTConfig
from minigpt.corpus import Corpus
from minigpt.model import GPT, CausalSelfAttention, plain_attention
from minigpt.training import mfu
from minigpt.training.mfu import flops_per_token, peak_flops_per_s, tokens_per_s_at_peak
from minigpt.training.precision import autocast
from minigpt.training.world import World
from tests.training.test_loop import small_run


@pytest.mark.parametrize("arch", ["gpt2", "rotary"])
@pytest.mark.parametrize("tied", [True, False])
def test_operations_are_those_that_are_counted(arch: str, tied: bool) -> None:
    config = GPTConfig(
        arch=arch, n_layer=3, n_head=2, n_embd=64, block_size=32, vocab_size=50,
        bias=False, qkv_bias=False, tie_weights=tied,
    )  # fmt: skip
    model = GPT(config)
    for module in model.modules():
        if isinstance(module, CausalSelfAttention):
            module.attend = plain_attention  # whose operations are counted
    tokens = torch.zeros(2, config.block_size, dtype=torch.int64)
    with FlopCounterMode(display=False) as counted:
        model(tokens).sum().backward()
    # a norm's weights are multiplied too, number by number: 7 of them here
    norms = 6 * 7 * config.n_embd * tokens.numel()
    assert counted.get_total_flops() + norms == flops_per_token(config) * tokens.numel()


def test_only_known_devices_have_a_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    assert peak_flops_per_s("cpu") is None
    names = iter(["NVIDIA H200", "NVIDIA H100 80GB HBM3 MIG 1g.10gb"])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: next(names))

    def only_emulated(*, including_emulation: bool = True) -> bool:
        return including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", only_emulated)
    assert peak_flops_per_s("cuda:0") is None
    assert isinstance(autocast(torch.device("cuda")), nullcontext)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    assert peak_flops_per_s("cuda:0") == 989e12
    assert peak_flops_per_s("cuda") is None


def test_several_devices_have_their_peaks_together(
    tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = small_run(tmp_path, corpus)
    assert tokens_per_s_at_peak(run) is None
    monkeypatch.setattr(mfu, "peak_flops_per_s", lambda _: 1e12)
    run = replace(run, world=World(size=4))
    assert tokens_per_s_at_peak(run) == 4e12 / flops_per_token(run.model)
