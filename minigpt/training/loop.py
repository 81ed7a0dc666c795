"""The training loop: yields what happens, prints nothing.

Everything random is a pure function of (seed, step): the batches, the dropout, the initial
weights. So a run that was stopped goes on as if it had not been.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from minigpt import __version__
from minigpt.config import GPTConfig, ModelCard, TrainConfig
from minigpt.corpus import Ids, TokenizedCorpus, check_length, split
from minigpt.errors import InputError
from minigpt.model import GPT
from minigpt.runtime.draft import Draft
from minigpt.runtime.generation import generate
from minigpt.runtime.params import SamplingParams
from minigpt.tokenizer import CharTokenizer
from minigpt.torch_decoder import TorchDecoder
from minigpt.training import checkpoint as checkpoints
from minigpt.training.checkpoint import Checkpoint
from minigpt.training.data import windows
from minigpt.training.optim import (
    load_state_tensors,
    make_optimizers,
    schedule,
    set_rates,
    state_tensors,
)

EXCERPT_CHARS = 8192
"""Of validation text in a checkpoint: enough for a loss to two digits, seconds to compare on."""


@dataclass(frozen=True, slots=True)
class Begin:
    """The model is built and fits into memory; nothing was written yet."""

    step: int
    """Where the run begins, or goes on."""


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step is done."""

    step: int
    """Steps done so far."""
    loss: float
    """Mean over the step's batches, in nats per token."""
    learning_rate: float
    """AdamW's."""
    gradient_norm: float
    """Before clipping."""
    tokens: int
    """Trained on in this step."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The validation part was scored: all of it, or as much as `eval_tokens` says."""

    step: int
    val_loss: float
    best: bool
    """Whether it is the lowest so far (and was saved as such)."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A text the model wrote at this step."""

    step: int
    text: str


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint is on the disk."""

    step: int
    path: Path


@dataclass(frozen=True, slots=True)
class End:
    """Nothing follows."""

    step: int
    best_val_loss: float
    stopped: bool
    """Asked to stop before the last step; the run can be resumed."""


Event = Begin | Step | Evaluation | Sample | Saved | End


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What is to be trained, on what, where to."""

    model: GPTConfig
    train: TrainConfig
    corpus: TokenizedCorpus
    folder: Path
    device: str = "cpu"

    @property
    def parts(self) -> tuple[Ids, Ids]:
        """What is trained on, and what of the validation part is scored."""
        train, val = split(self.corpus.ids)
        scored = self.train.eval_tokens or len(val)
        return train, val[: scored + 1]  # the first one is not predicted


def train(
    run: Run, resume: Checkpoint | None = None, stop: Callable[[], bool] = lambda: False
) -> Iterator[Event]:
    """Train, and yield what happens as it happens.

    At every `eval_interval` a checkpoint is written before the evaluation, so that nothing is
    lost if that fails; and once more when the loop stops.

    Args:
        run: the whole of what to do.
        resume: where to go on from.
        stop: asked after every step; True saves and ends.

    Raises:
        InputError: the text is too short, the loss is not a number any more, or a checkpoint
            cannot be written.
    """
    config = run.train
    tokenizer = run.corpus.tokenizer
    check_length(run.corpus.ids, run.model.block_size)
    train_ids, val_ids = run.parts
    torch.manual_seed(config.seed)
    try:
        model = GPT(run.model).to(run.device)
    except RuntimeError as error:  # what torch raises when memory is short
        raise InputError(
            f"a model of {run.model.n_params():,} parameters does not fit into memory: "
            f"{str(error).splitlines()[0]}"
        ) from None
    optimizers = make_optimizers(model, config)
    start, best_val_loss, val_loss = 0, math.inf, math.inf
    if resume:
        checkpoints.load_weights(model, resume.weights)
        load_state_tensors(model, optimizers, resume.optimizer)
        start, best_val_loss = resume.card.steps, resume.best_val_loss
        val_loss = resume.card.val_loss

    draft = Draft.from_text(train_ids, run.model.vocab_size).to_text()

    def snapshot(step: int, *, full: bool) -> Checkpoint:
        card = ModelCard(
            name=run.folder.name,
            corpus=run.corpus.name,
            corpus_sha256=run.corpus.sha256,
            corpus_chars=len(run.corpus.ids),
            steps=step,
            val_loss=val_loss,
            minigpt_version=__version__,
        )
        return Checkpoint(
            model=run.model,
            train=run.train,
            tokenizer=tokenizer,
            card=card,
            excerpt=tokenizer.decode(split(run.corpus.ids)[1][:EXCERPT_CHARS]),
            draft=draft,
            best_val_loss=best_val_loss,
            weights=checkpoints.model_weights(model),
            optimizer=state_tensors(model, optimizers) if full else {},
        )

    yield Begin(start)
    for step in range(start, config.max_steps + 1):
        if step % config.eval_interval == 0 or step == config.max_steps:
            if step > start:
                checkpoints.save_last(snapshot(step, full=True), run.folder)
                yield Saved(step, run.folder / checkpoints.LAST)
            val_loss = evaluate(model, val_ids)
            best = val_loss < best_val_loss
            if best:
                best_val_loss = val_loss
                checkpoints.save(snapshot(step, full=False), run.folder / checkpoints.BEST)
            yield Evaluation(step, val_loss, best)
            if config.sample_chars and step:
                yield Sample(step, sample(model, tokenizer, config))
        if step == config.max_steps:
            break
        yield _step(model, optimizers, train_ids, config, step)
        if stop() and step + 1 < config.max_steps:
            checkpoints.save_last(snapshot(step + 1, full=True), run.folder)
            yield Saved(step + 1, run.folder / checkpoints.LAST)
            yield End(step + 1, best_val_loss, stopped=True)
            return
    yield End(config.max_steps, best_val_loss, stopped=False)


def _step(
    model: GPT,
    optimizers: Sequence[torch.optim.Optimizer],
    ids: Ids,
    config: TrainConfig,
    step: int,
) -> Step:
    """One optimizer step, of `accumulation` batches."""
    device = next(model.parameters()).device
    model.train()
    torch.manual_seed((config.seed + 1_000_003 * (step + 1)) % 2**63)  # dropout's randomness
    share = schedule(step, config)
    set_rates(optimizers, share)
    total = 0.0
    for part in range(config.accumulation):
        inputs, targets = windows(
            ids,
            seed=config.seed,
            first=(step * config.accumulation + part) * config.batch_size,
            count=config.batch_size,
            block_size=model.config.block_size,
        )
        with autocast(device):
            logits = model(inputs.to(device))
        loss = next_token_loss(logits, targets.to(device)) / config.accumulation
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    limit = config.grad_clip or math.inf
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), limit).item()
    if not math.isfinite(total) or not math.isfinite(norm):
        raise InputError(
            f"training diverged at step {step + 1} (loss {total}, gradient norm {norm}); start "
            "again with lower learning rates; the last checkpoint is untouched"
        )
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    tokens = config.accumulation * config.batch_size * model.config.block_size
    return Step(step + 1, total, share * config.learning_rate, norm, tokens)


def next_token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats: logits (B,T,V), targets (B,T)."""
    return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 matrix products where the hardware has them; elsewhere they would be slower."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported()
    else:
        # private, and the only way to ask; without it float32 is always right
        supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
        fast = bool(supported())
    return torch.autocast(device.type, dtype=torch.bfloat16) if fast else nullcontext()


@torch.inference_mode()
def evaluate(model: GPT, ids: Ids, tokens_per_batch: int = 16384) -> float:
    """Mean loss over a whole text: `runtime.evaluation.evaluate`, many windows at a time.

    Always in float32, so that the number is the exported model's number too.

    Args:
        model: left in eval mode.
        ids: the text, at least two tokens.
        tokens_per_batch: the result does not depend on it beyond rounding.
    """
    model.eval()
    device = next(model.parameters()).device
    block_size = model.config.block_size
    tokens = torch.from_numpy(ids.astype("int64")).to(device)
    n_targets = len(tokens) - 1
    n_full = n_targets // block_size
    inputs = tokens[: n_full * block_size].view(n_full, block_size)
    targets = tokens[1 : n_full * block_size + 1].view(n_full, block_size)
    rows = max(1, tokens_per_batch // block_size)
    parts = [(inputs[i : i + rows], targets[i : i + rows]) for i in range(0, n_full, rows)]
    if n_full * block_size < n_targets:
        tail = tokens[n_full * block_size :]
        parts.append((tail[None, :-1], tail[None, 1:]))
    losses = [next_token_loss(model(x), y).item() * y.numel() for x, y in parts]
    return float(sum(losses)) / n_targets


def sample(model: GPT, tokenizer: CharTokenizer, config: TrainConfig) -> str:
    """A short text, always with the same random numbers, so that samples can be compared."""
    params = replace(SamplingParams(), max_new_tokens=config.sample_chars, seed=config.seed)
    tokens = generate(TorchDecoder(model), tokenizer, tokenizer.start, lambda: params)
    return "".join(token.text for token in tokens)
