"""The whole GPT, in reading order: norm, attention, MLP, block, model.

A decoder-only transformer as in GPT-2 (Radford et al., 2019): each block adds to the stream what
its attention reads from earlier positions, then what its MLP makes of it, each on a normalised
copy ("pre-norm"). Weights keep GPT-2's names. What varies between models is named in GPTConfig.

Shapes: B batch, T new positions, S past plus new positions, H heads, D head_dim, C n_embd,
V vocab_size.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minigpt.config import GPTConfig

OF_VOCABULARY = ("wte.weight", "lm_head.weight", "lm_head.bias")
"""Weights with a row for every token, where there are such."""

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


class KVCache:
    """The keys and values of the positions already seen, so that no position is computed twice.

    An argument of the model, never its state. Forgetting is free: lower `length`, and what lies
    behind it is overwritten by the next call.
    """

    def __init__(self, config: GPTConfig, batch_size: int = 1, device: str = "cpu") -> None:
        shape = (2, batch_size, config.n_head, config.block_size, config.head_dim)
        self.layers = [torch.zeros(shape, device=device) for _ in range(config.n_layer)]
        self.length = 0


class LayerNorm(nn.Module):
    """Each position's numbers x become (x - mean) / sqrt(variance + 1e-5) * weight + bias."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.n_embd))
        self.bias = nn.Parameter(torch.zeros(config.n_embd)) if config.bias else None

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, 1e-5)


def plain_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention written out: the reference that `fused_attention` is tested against.

    The T queries belong to the last T of the S positions. Scores are divided by sqrt(D) because a
    dot product of D unit-variance pairs has variance D, which would leave softmax all but one-hot
    (Vaswani et al., 2017).

    Args:
        q: queries (B,H,T,D).
        k: keys (B,H,S,D).
        v: values (B,H,S,D).

    Returns:
        What each query read, (B,H,T,D).
    """
    T, S = q.size(2), k.size(2)
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))  # (B,H,T,S)
    visible = torch.ones(T, S, dtype=torch.bool, device=q.device).tril(S - T)
    scores = scores.masked_fill(~visible, -math.inf)  # no position looks ahead
    return scores.softmax(dim=-1) @ v


def fused_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same function as `plain_attention`, by PyTorch's fused kernel."""
    if q.is_cpu and torch.is_autocast_enabled("cpu"):
        # on a Sapphire Rapids (16,4,64,32) takes 14 ms there and back in bfloat16, 3.4 in float32;
        # from a window of 256 on there is no difference
        with torch.autocast("cpu", enabled=False):
            return fused_attention(q.float(), k.float(), v.float())
    T, S = q.size(2), k.size(2)
    if T == S:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    # is_causal would align the triangle to the first key; with a past it belongs to the last
    visible = torch.ones(T, S, dtype=torch.bool, device=q.device).tril(S - T)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=visible)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding (Su et al., 2021): turn the pairs (i, i + D/2) by the position.

    The dot product of two rotated vectors depends on the distance of their positions alone. A pair
    (a, b) becomes (a cos - b sin, b cos + a sin), all of them in few operations.

    Args:
        x: queries or keys (B,H,T,D).
        cos: cosine of each position's angles, of a and of b (T,D).
        sin: sine of the same, of a with the minus (T,D).
    """
    x = x.type_as(cos)  # autocast left it in bfloat16: each product would be cast there and back
    a, b = x.chunk(2, dim=-1)
    return torch.addcmul(x * cos, torch.cat((b, a), dim=-1), sin)


def rotary_tables(config: GPTConfig) -> tuple[Tensor, Tensor]:
    """Cosines and sines of every position's angles, as `rotate` takes them: (block_size, D)."""
    half = config.head_dim // 2
    frequencies = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    angles = torch.outer(torch.arange(config.block_size, dtype=torch.float64), frequencies)
    cos, sin = angles.cos().float(), angles.sin().float()
    return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)


class CausalSelfAttention(nn.Module):
    """Each position gathers, by learned relevance, from itself and the positions before it."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.qkv_bias)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.attend: Attention = fused_attention
        if not config.learned_positions:
            cos, sin = rotary_tables(config)
            self.register_buffer("cos", cos, persistent=False)
            self.register_buffer("sin", sin, persistent=False)

    def forward(self, x: Tensor, past: Tensor | None, start: int) -> Tensor:
        """What each of the T positions read.

        Args:
            x: the stream, normalised (B,T,C).
            past: this layer's keys and values (2,B,H,block_size,D), filled up to `start`; the new
                ones are written behind them.
            start: position of the first of the T.
        """
        B, T, C = x.size()
        q, k, v = (
            part.view(B, T, self.config.n_head, self.config.head_dim).transpose(1, 2)
            for part in self.c_attn(x).split(C, dim=2)
        )  # each (B,H,T,D)
        if not self.config.learned_positions:
            cos, sin = self.cos[start : start + T], self.sin[start : start + T]
            q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if past is not None:
            past[0, :, :, start : start + T] = k
            past[1, :, :, start : start + T] = v
            k, v = past[:, :, :, : start + T]  # (B,H,S,D)
        y = self.attend(q, k, v).transpose(1, 2).reshape(B, T, C)
        out: Tensor = self.c_proj(y)
        return out


class MLP(nn.Module):
    """Each position on its own: four times wider, a smooth gate, and back."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        # The exact (erf) GELU: on a CPU its two passes take 40% of the tanh form's time, and
        # onnxruntime has both fused.
        out: Tensor = self.c_proj(F.gelu(self.c_fc(x)))
        return out


class Dropout(nn.Module):
    """In training a share of the numbers is 0, and the others make up for it (Srivastava, 2014).

    On a CPU `F.dropout` draws for one number at a time, on one thread: 24 ms for 1.6 million of
    them and back. Here one draw is for eight, which takes 7: the share is in whole 256ths then, of
    which there is at least one. A compiled model has a dropout of its own.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.share:
            return x
        if not x.is_cpu or torch.compiler.is_compiling():
            return F.dropout(x, self.share)
        draws = torch.randint(-(2**63), 2**63 - 1, (-(-x.numel() // 8),))
        left_out = min(max(1, round(256 * self.share)), 255)
        keep = draws.view(torch.uint8)[: x.numel()].view(x.shape) >= left_out
        return x * (keep * (256 / (256 - left_out))).type_as(x)


class Block(nn.Module):
    """Attention, then MLP, each added to the stream."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.ln_1 = LayerNorm(config)
        self.attn = CausalSelfAttention(config)
        self.ln_2 = LayerNorm(config)
        self.mlp = MLP(config)
        # Dropout on what a sub-layer adds, not on the attention weights: PyTorch's fast attention
        # on a CPU works without dropout only.
        self.drop = Dropout(config.dropout)

    def forward(self, x: Tensor, past: Tensor | None, start: int) -> Tensor:
        x = x + self.drop(self.attn(self.ln_1(x), past, start))
        out: Tensor = x + self.drop(self.mlp(self.ln_2(x)))
        return out


class GPT(nn.Module):
    """Token ids in, the logits of each position's next token out."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = (
            nn.Embedding(config.block_size, config.n_embd) if config.learned_positions else None
        )
        self.drop = Dropout(config.dropout)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = LayerNorm(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=config.head_bias)
        if config.tie_weights:
            self.lm_head.weight = self.wte.weight
        self._init_weights()

    def _init_weights(self) -> None:
        """Every number keeps about unit variance on its way, and every block starts as nothing.

        What reads the stream is normal with deviation 1/sqrt(fan_in); the projections that add to
        it are 0, so a fresh model is embedding, norm and head alone. Against GPT-2's 0.02
        everywhere this is worth 0.08 nats after 740 steps of the `laptop` preset (1.820 to 1.903
        at the best rate of each). The head is small, so that the first loss is about ln V; a tied
        head makes the embedding small too.
        """
        for name, parameter in self.named_parameters():
            if name.endswith("c_proj.weight"):
                nn.init.zeros_(parameter)
            elif name == "lm_head.weight":
                nn.init.normal_(parameter, std=0.02)
            elif name.startswith(("wte", "wpe")):
                nn.init.normal_(parameter, std=0.02 if self.config.tie_weights else 0.5)
            elif parameter.dim() == 2:
                nn.init.normal_(parameter, std=parameter.size(1) ** -0.5)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, tokens: Tensor, cache: KVCache | None = None) -> Tensor:
        """Logits of the token after each of `tokens`.

        Args:
            tokens: int64 ids (B,T).
            cache: what came before; `tokens` are appended to it. Without one they start at 0.

        Returns:
            Logits (B,T,V).

        Raises:
            ValueError: past and new positions together exceed block_size.
        """
        T, start = tokens.size(1), cache.length if cache else 0
        if start + T > self.config.block_size:
            raise ValueError(
                f"{start} past and {T} new positions exceed block_size {self.config.block_size}"
            )
        x = self.wte(tokens)  # (B,T,C)
        if self.wpe is not None:
            x = x + self.wpe(torch.arange(start, start + T, device=tokens.device))
        x = self.drop(x)
        for i, block in enumerate(self.h):
            x = block(x, cache.layers[i] if cache else None, start)
        if cache:
            cache.length = start + T
        logits: Tensor = self.lm_head(self.ln_f(x))  # (B,T,V)
        return logits
