"""A model in training: it takes a step, is saved, is scored.

Everything random is a pure function of (seed, step): the batches, the dropout, the initial
weights. So a run that was stopped goes on as if it had not been.
"""

import math
import subprocess
import warnings
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from torch import Tensor

from minigpt import __version__
from minigpt.config import ModelCard, TrainConfig
from minigpt.corpus import split
from minigpt.errors import InputError
from minigpt.model import GPT
from minigpt.runtime.draft import Draft
from minigpt.training import checkpoint as checkpoints
from minigpt.training.average import Average
from minigpt.training.checkpoint import Checkpoint, Machine
from minigpt.training.data import resident, windows
from minigpt.training.events import Evaluation, Sample, Saved, Step
from minigpt.training.memory import Done, Given, bounded, must_fit, step_or_advice
from minigpt.training.optim import (
    Optimizer,
    load_state_tensors,
    make_optimizers,
    schedule,
    state_tensors,
)
from minigpt.training.precision import autocast, has_bfloat16, in_order
from minigpt.training.run import Run, check_run
from minigpt.training.scoring import evaluate, next_token_loss, sample
from minigpt.training.sharding import gathered, own_part, whole
from minigpt.training.start import begin_with
from minigpt.training.world import without_averaging

FIRST_SCORED = 4096
"""Tokens that a fresh model is scored on. Its loss is about ln V wherever one looks, and all of the
validation part would take 2 s of the `laptop` preset's run, and half a minute of `shakespeare`'s,
before its first step."""
_COMPILER_ERRORS = (RuntimeError, ImportError, OSError, subprocess.SubprocessError)
"""Of torch.compile: as many kinds as ways to fail. The last is Triton's, where gcc finds no
Python.h."""
EXCERPT_CHARS = 8192
"""Of validation text in a checkpoint: enough for a loss to two digits, seconds to compare on."""


class Diverged(InputError):
    """The loss, its gradient or a weight is not a number any more."""

    def __init__(self, step: int, why: str) -> None:
        super().__init__(
            f"training diverged at step {step} ({why}); start again with lower rates, --set "
            "muon_learning_rate= and learning_rate=; the last checkpoint is untouched"
        )


@dataclass(frozen=True, slots=True)
class Taken:
    """A step whose numbers a GPU may still be working on."""

    step: int
    learning_rate: float
    tokens: int
    numbers: Tensor
    """Loss and gradient norm (2,), on the CPU or on their way there."""
    arrived: torch.cuda.Event | None
    """When they are there; None for at once."""

    def read(self) -> Step:
        """Wait for the numbers.

        Raises:
            Diverged: the loss or the gradient is not a number any more.
        """
        if self.arrived:
            self.arrived.synchronize()
        loss, norm = self.numbers.tolist()
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise Diverged(self.step, f"loss {loss}, gradient norm {norm}")
        return Step(self.step, loss, self.learning_rate, norm, self.tokens)


class Training:
    """A model in training, and what is known of it so far."""

    def __init__(self, run: Run, resume: Checkpoint | None) -> None:
        check_run(run)
        self._run = run
        train_ids, self._val_ids = run.parts
        self._train_ids = resident(train_ids, torch.device(run.world.device))
        torch.manual_seed(run.train.seed)
        self._bounds = nullcontext if run.world.on_gpu else bounded
        self._given: Given = "everything" if resume else "shape" if run.start else "nothing"
        with must_fit(run.model, self._given), self._bounds():
            self.model = GPT(run.model)
            if resume:
                checkpoints.load_weights(self.model, resume.weights)
            elif run.start:
                begin_with(run.start, self.model, run.tokenizer)
            weights = checkpoints.model_weights(self.model)
            # that of a model that has never learned, not even before this run
            self._is_blank = not any(w.any() for n, w in weights.items() if "c_proj.weight" in n)
            self._shared = run.world.wrap(self.model)
            self._optimizers = make_optimizers(self.model, run.train)
            self._average = Average(self.model, run.train.ema_decay)
        self._forward: Callable[[Tensor], Tensor] = self._shared
        device = torch.device(run.world.device)
        self.machine = Machine(
            processes=run.world.size,
            compiled=run.compile,
            sharded=run.world.shard,
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            bfloat16=has_bfloat16(device),
        )
        self.step = 0
        """Done so far."""
        self._taken: deque[Taken] = deque()
        self.best_val_loss = math.inf
        self.since_best = 0
        """Evaluations."""
        self._val_loss = math.inf
        if resume:
            if resume.card.steps:
                load_state_tensors(self.model, self._with_state, resume.optimizer)
            self.step, self._val_loss = resume.card.steps, resume.card.val_loss
            # the first process may have found the best checkpoint lost
            self.best_val_loss = run.world.of_first(resume.best_val_loss)
            self.since_best = resume.evaluations_since_best
            # whoever asked still has it, and would keep its gigabytes for as long as the run takes
            resume.weights.clear()
            resume.optimizer.clear()
        self._known_draft = resume.draft if resume else None

    @property
    def _with_state(self) -> list[Optimizer | Average]:
        """All that remember something of each parameter."""
        return [*self._optimizers, self._average]

    @cached_property
    def _draft(self) -> str:
        """The table of guesses of the training text, which all checkpoints of a run share."""
        if self._known_draft is not None:
            return self._known_draft
        return Draft.from_text(self._run.parts[0], self._run.model.vocab_size).to_text()

    def rehearse(self) -> str:
        """Try a batch and forget it: what fails does so before an older run is cleared away.

        Returns:
            Why there will be no torch.compile; "" if there will be, or it was not asked for.

        Raises:
            InputError: memory is short.
        """
        why = ""
        try:
            if self.machine.compiled:
                # for the steps only: scores and texts are those of the model as it is
                self._forward = torch.compile(self._shared)
            with self._bounds(), warnings.catch_warnings():
                # it advises TF32, which would take digits from the scores, in float32 on purpose
                warnings.filterwarnings("ignore", "TensorFloat32")
                self._or_advice(self._try)
        except _COMPILER_ERRORS as error:
            if not self.machine.compiled:
                raise
            why = f"{type(error).__name__}: {error}".splitlines()[0]
            self.machine = replace(self.machine, compiled=False)
            self._forward = self._shared
            with self._bounds():
                self._or_advice(self._try)
        return why

    def _try(self, config: TrainConfig) -> None:
        self.model.train()
        self._backward(config, 0, last=True)
        self.model.zero_grad(set_to_none=True)

    def advance(self, share: float | None = None, *, ahead: int = 0) -> list[Step]:
        """One optimizer step, of `accumulation` batches; this process's share of their rows.

        Args:
            share: of the learning rates; None follows the schedule.
            ahead: as in `known_steps`.

        Returns:
            What `known_steps` does.

        Raises:
            Diverged: the loss or the gradient is not a number any more.
            InputError: memory is short.
        """
        self._taken.append(self._or_advice(partial(self._step, share)))
        return self.known_steps(ahead)

    def known_steps(self, ahead: int = 0) -> list[Step]:
        """The steps that were not told yet.

        Args:
            ahead: so many of the last ones are left untold: a GPU is to work on them meanwhile.

        Raises:
            Diverged: as `advance`, but of a step before.
        """
        return [self._taken.popleft().read() for _ in range(len(self._taken) - ahead)]

    def _or_advice(self, step: Callable[[TrainConfig], Done]) -> Done:
        run = self._run
        alone = run.world.size == 1
        return step_or_advice(step, run.train, run.model, alone=alone, given=self._given)

    def _step(self, share: float | None, config: TrainConfig) -> Taken:
        world, step = self._run.world, self.step
        self.model.train()
        # dropout's randomness, another in each process
        torch.manual_seed((config.seed + 1_000_003 * (step + 1) + world.rank) % 2**63)
        share = schedule(step, config) if share is None else share
        parts = range(config.accumulation)
        losses = [self._backward(config, part, last=part == parts[-1]) for part in parts]
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        norm = whole(torch.nn.utils.get_total_norm(gradients))
        for optimizer in self._optimizers:
            optimizer.step(share)
        self.model.zero_grad(set_to_none=True)
        self.step += 1
        self._average.follow(self.step, left=config.max_steps - self.step)
        tokens = config.accumulation * config.batch_size * self._run.model.block_size
        numbers = torch.stack([world.mean(sum(losses[1:], losses[0])), norm.double()])
        arrived = torch.cuda.Event() if numbers.is_cuda else None  # type: ignore[no-untyped-call]
        numbers = numbers.to("cpu", non_blocking=True)
        if arrived:
            arrived.record()
        return Taken(self.step, share * config.learning_rate, tokens, numbers, arrived)

    def _backward(self, config: TrainConfig, part: int, *, last: bool) -> Tensor:
        """Add a batch's gradients to those that are there; returns its share of the loss."""
        world, device = self._run.world, torch.device(self._run.world.device)
        rows = config.batch_size // world.size
        inputs, targets = windows(
            self._train_ids,
            device,
            seed=config.seed,
            first=(self.step * config.accumulation + part) * config.batch_size + world.rank * rows,
            count=rows,
            block_size=self._run.model.block_size,
        )
        # on a GPU it would need a setting of cuBLAS too, and has not been tried
        ordered = in_order() if self.machine.compiled and not world.on_gpu else nullcontext()
        with ordered, nullcontext() if last else without_averaging(self._shared):
            with autocast(device):
                logits = self._forward(inputs)
            loss = next_token_loss(logits, targets) / config.accumulation
            loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach().double()

    def save(self) -> Saved:
        """Write all that is needed to go on from here.

        Raises:
            InputError: a weight is no number (the next step's loss would be none either), or the
                checkpoint cannot be written.
        """
        world, folder = self._run.world, self._run.folder
        finite = all(own_part(p).isfinite().all() for p in self.model.parameters())
        if world.any(not finite):
            raise Diverged(self.step, "weights that are not finite")
        if world.takes_part:
            snapshot = self._snapshot(full=True)
            if world.first:
                previous = folder / checkpoints.PREVIOUS
                checkpoints.save(snapshot, folder / checkpoints.LAST, keep_old_as=previous)
        return Saved(self.step, folder / checkpoints.LAST)

    def evaluate(self) -> Evaluation:
        """Score the averaged weights on the validation part; keep them if they are the best."""
        with self._average.in_place():
            return self._evaluate()

    def _evaluate(self) -> Evaluation:
        world = self._run.world
        is_blank = self.step == 0 and self._is_blank
        ids = self._val_ids[: FIRST_SCORED + 1] if is_blank else self._val_ids
        with must_fit(self._run.model, self._given):
            loss = evaluate(self.model, ids) if world.takes_part else 0.0
        self._val_loss = world.of_first(loss)
        best = self._val_loss < self.best_val_loss
        self.since_best = 0 if best else self.since_best + 1
        if best:
            self.best_val_loss = self._val_loss
            if world.takes_part:
                snapshot = self._snapshot(full=False)
                if world.first:
                    checkpoints.save(snapshot, self._run.folder / checkpoints.BEST)
        return Evaluation(self.step, self._val_loss, best)

    def sample(self) -> Sample:
        """A text by the averaged weights."""
        with self._average.in_place():
            text = sample(self.model, self._run.tokenizer, self._run.train)
        return Sample(self.step, text)

    def _snapshot(self, *, full: bool) -> Checkpoint:
        run = self._run
        card = ModelCard(
            name=run.name,
            corpus=run.corpus.name,
            corpus_sha256=run.corpus.sha256,
            corpus_chars=len(run.corpus.ids),
            steps=self.step,
            val_loss=self._val_loss,
            minigpt_version=__version__,
        )
        return Checkpoint(
            model=run.model,
            train=run.train,
            tokenizer=run.tokenizer,
            card=card,
            excerpt=run.corpus.tokenizer.decode(split(run.corpus.ids)[1][:EXCERPT_CHARS]),
            draft=self._draft if run.world.first else "",
            best_val_loss=self.best_val_loss,
            evaluations_since_best=self.since_best,
            weights=gathered(checkpoints.model_weights(self.model), keep=run.world.first),
            optimizer=gathered(
                state_tensors(self.model, self._with_state) if full else {}, keep=run.world.first
            ),
            machine=self.machine,
        )
