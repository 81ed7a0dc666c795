import subprocess
import sys

import pytest

pytest.importorskip("torch")

import torch
from torch.nn import Parameter

from minigpt.config import GPTConfig, TrainConfig
from minigpt.errors import InputError
from minigpt.training.optim import (
    AdamW,
    Muon,
    Optimizer,
    load_state_tensors,
    make_optimizers,
    orthogonalized,
    schedule,
    state_tensors,
)
from tests.models import random_gpt

SMALL = GPTConfig(n_layer=2, n_head=1, n_embd=8, block_size=8, vocab_size=5)


def test_the_rate_rises_and_falls_in_lines() -> None:
    config = TrainConfig(warmup_steps=4, max_steps=24)
    shares = [schedule(step, config) for step in range(25)]
    assert shares[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert shares[14] == pytest.approx(0.5)
    assert shares[24] == 0.0


def test_a_short_run_does_not_end_in_its_warmup() -> None:
    shares = [schedule(step, TrainConfig(warmup_steps=50, max_steps=20)) for step in range(20)]
    assert max(shares) == shares[4] == 1.0
    assert shares[19] < 0.1


def test_each_parameter_has_one_optimizer() -> None:
    model = random_gpt(SMALL)
    adamw, muon = make_optimizers(model, TrainConfig(weight_decay=0.3))
    assert isinstance(adamw, AdamW)
    assert isinstance(muon, Muon)
    names = {p: name for name, p in model.named_parameters()}
    owned = [p for each in (adamw, muon) for p in each.parameters]
    assert sorted(names[p] for p in owned) == sorted(names.values())
    assert {names[p] for p in muon.parameters} == {
        name
        for name in names.values()
        if name[:2] == "h." and "weight" in name and "ln" not in name
    }


def test_the_optimizers_get_the_settings() -> None:
    settings = TrainConfig(
        beta1=0.8, beta2=0.97, learning_rate=0.5, muon_learning_rate=0.25, momentum=0.7,
        weight_decay=0.1,
    )  # fmt: skip
    adamw, muon = make_optimizers(random_gpt(SMALL), settings)
    assert isinstance(adamw, AdamW)
    assert isinstance(muon, Muon)
    assert (adamw.betas, adamw.lr, adamw.weight_decay) == ((0.8, 0.97), 0.5, 0.1)
    assert (muon.momentum, muon.lr, muon.weight_decay) == (0.7, 0.25, 0.1)


@pytest.mark.parametrize("muon_rate", [0.0, 0.02])
def test_adamw_against_the_one_of_torch(muon_rate: float) -> None:
    settings = TrainConfig(weight_decay=0.3, learning_rate=0.01, muon_learning_rate=muon_rate)
    ours, theirs = random_gpt(SMALL), random_gpt(SMALL)
    adamw = make_optimizers(ours, settings)[0]
    names = {p: name for name, p in ours.named_parameters()}
    same = [dict(theirs.named_parameters())[names[p]] for p in adamw.parameters]
    reference = torch.optim.AdamW(
        [
            {"params": [p for p in same if p.dim() == 2], "weight_decay": 0.3},
            {"params": [p for p in same if p.dim() != 2], "weight_decay": 0.0},
        ],
        betas=(settings.beta1, settings.beta2),
    )
    torch.manual_seed(0)
    for share in (1.0, 0.5, 0.1):
        for one, other in zip(adamw.parameters, same, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        for group in reference.param_groups:
            group["lr"] = share * settings.learning_rate
        adamw.step(share)
        reference.step()
    for one, other in zip(adamw.parameters, same, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_training_does_not_wait_for_the_compiler() -> None:
    # 1.5 s to import; any optimizer of torch.optim does it
    code = """
import sys
import torch
from minigpt.config import GPTConfig, TrainConfig
from minigpt.model import GPT
from minigpt.training.optim import make_optimizers
model = GPT(GPTConfig(n_layer=1, n_head=1, n_embd=8, block_size=8))
model(torch.zeros(1, 8, dtype=torch.int64)).sum().backward()
for optimizer in make_optimizers(model, TrainConfig()):
    optimizer.step(1.0)
import minigpt.train_command
import minigpt.training.loop
print([name for name in ("torch._dynamo", "torch.distributed.fsdp") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("shape", [(6, 16), (16, 6), (8, 8)])
def test_orthogonalized_sets_all_singular_values_to_about_one(
    shape: tuple[int, int], bfloat16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minigpt.training.optim.has_bfloat16", lambda _: bfloat16)
    torch.manual_seed(0)
    matrices = torch.randn(3, *shape)
    found = orthogonalized(matrices)
    u, s, v = torch.linalg.svd(matrices, full_matrices=False)
    values = (u.mT @ found @ v.mT).diagonal(dim1=1, dim2=2)
    assert s.max() / s.min() > 3  # else there is nothing to see
    assert values.min() > 0.5
    assert values.max() < 1.3
    # and its singular vectors stay what they were
    atol, rtol = (0.04, 0.0) if bfloat16 else (1e-4, 1e-3)
    torch.testing.assert_close(u @ torch.diag_embed(values) @ v, found, atol=atol, rtol=rtol)


def plain_muon(
    weight: torch.Tensor, gradients: list[torch.Tensor], lr: float, momentum: float, decay: float
) -> torch.Tensor:
    """As it is written in words, one matrix, by singular values."""
    average = torch.zeros_like(weight)
    for gradient in gradients:
        average = momentum * average + (1 - momentum) * gradient
        ahead = momentum * average + (1 - momentum) * gradient
        u, s, v = torch.linalg.svd(ahead / ahead.norm(), full_matrices=False)
        for _ in range(5):
            s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
        rows, columns = weight.shape
        length = lr * max(1.0, rows / columns) ** 0.5
        weight = weight * (1 - lr * decay) - length * (u * s) @ v
    return weight


@pytest.mark.usefixtures("in_float32")
def test_muon_against_its_definition() -> None:
    torch.manual_seed(0)
    shapes = [(4, 12), (12, 4), (4, 12), (5, 5)]
    weights = [Parameter(torch.randn(shape)) for shape in shapes]
    gradients = [[torch.randn(shape) for _ in range(3)] for shape in shapes]
    wanted = [
        plain_muon(w.detach(), g, lr=0.1, momentum=0.9, decay=0.2)
        for w, g in zip(weights, gradients, strict=True)
    ]
    muon = Muon(dict.fromkeys(weights, 1), lr=0.2, momentum=0.9, weight_decay=0.2)
    for i in range(3):
        for weight, of_it in zip(weights, gradients, strict=True):
            weight.grad = of_it[i].clone()
        muon.step(0.5)
    for weight, want in zip(weights, wanted, strict=True):
        torch.testing.assert_close(weight.detach(), want, atol=1e-4, rtol=1e-4)


def test_stacked_matrices_are_turned_each_by_itself() -> None:
    torch.manual_seed(0)
    together = Parameter(torch.randn(12, 4))
    apart = [Parameter(part.clone()) for part in together.detach().chunk(3)]
    together.grad = torch.randn(12, 4)
    for part, gradient in zip(apart, together.grad.chunk(3), strict=True):
        part.grad = gradient.clone()
    settings = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}
    Muon({together: 3}, **settings).step(1.0)
    Muon(dict.fromkeys(apart, 1), **settings).step(1.0)
    torch.testing.assert_close(together, Parameter(torch.cat(list(apart))))


def test_the_state_can_be_taken_out_and_put_back() -> None:
    def trained(n_steps: int) -> tuple[torch.nn.Module, list[Optimizer]]:
        model = random_gpt(SMALL)
        optimizers = make_optimizers(model, TrainConfig())
        for i in range(n_steps):
            step(model, optimizers, i)
        return model, optimizers

    def step(model: torch.nn.Module, optimizers: list[Optimizer], seed: int) -> None:
        torch.manual_seed(seed)
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        for optimizer in optimizers:
            optimizer.step(1.0)

    model, optimizers = trained(3)
    other, fresh = trained(0)
    other.load_state_dict(model.state_dict())
    load_state_tensors(other, fresh, state_tensors(model, optimizers))
    step(model, optimizers, 9)
    step(other, fresh, 9)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("damage", ["unknown", "missing", "shape", "none"])
def test_another_state_is_refused(damage: str) -> None:
    model = random_gpt(SMALL)
    optimizers = make_optimizers(model, TrainConfig())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    for optimizer in optimizers:
        optimizer.step(1.0)
    state = state_tensors(model, optimizers)
    load_state_tensors(model, optimizers, state)
    key = "wte.weight/exp_avg"
    if damage == "unknown":
        state["nope/exp_avg"] = state[key]
    elif damage == "missing":
        del state[key]
    elif damage == "shape":
        state[key] = state[key][:1]
    else:
        state = {}
    with pytest.raises(InputError, match="not that of this model"):
        load_state_tensors(model, optimizers, state)
