"""Losses as a PNG: of one run beside the yardsticks, of several runs, of a range test."""

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from minigpt.files import write_atomically
from minigpt.terminal import one_line
from minigpt.training.events import Baselines
from minigpt.training.metrics import read_metrics, smoothed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from minigpt.training.lr_find import Trial  # imports torch, which `minigpt runs` goes without

PLOT = "loss.png"
Curve = Sequence[tuple[float, float]]
"""(step, loss) pairs."""


def plot_losses(folder: Path, baselines: Baselines) -> Path:
    """Draw loss.png from the log: training and validation loss against the yardsticks."""
    rows = read_metrics(folder)
    training = [(row["step"], row["loss"]) for row in rows if "loss" in row]
    validation = [(row["step"], row["val_loss"]) for row in rows if "val_loss" in row]

    axes = _axes()
    axes.plot(*_xy(training), lw=0.5, color="tab:blue", alpha=0.3, label="training, each step")
    axes.plot(*_xy(_smooth(training)), lw=1.5, color="tab:blue", label="training, smoothed")
    axes.plot(*_xy(validation), marker="o", ms=5, lw=1, color="tab:orange", label="validation")
    levels = {
        "guessing": baselines.uniform,
        "bigram counts": baselines.bigram,
        "5-gram counts": baselines.five_gram,
    }
    for name, level in levels.items():
        axes.axhline(level, ls="--", lw=1, color="gray")
        # beside the axes, where no curve is in its way
        axes.annotate(f"{name}\n{level:.3f}", (1.01, level), xycoords=("axes fraction", "data"),
                      va="center", fontsize="small", color="dimgray")  # fmt: skip
    axes.set_ylim(top=baselines.uniform + 0.3)
    _save(axes, folder / PLOT)
    return folder / PLOT


def plot_runs(curves: Mapping[str, tuple[Curve, Curve]], path: Path) -> None:
    """Draw several runs into one picture.

    Args:
        curves: the training and validation losses of each, by name; the latter not empty.
        path: the PNG file, replaced if it is there.

    Raises:
        InputError: it cannot be written.
    """
    axes = _axes()
    losses: list[float] = []
    # the first steps are the same for all runs, and taller than everything that tells them apart
    highest = -math.inf
    for i, (name, (training, validation)) in enumerate(curves.items()):
        color, smooth = f"C{i % 10}", _smooth(training)
        best = min(loss for _, loss in validation)
        axes.plot(*_xy(smooth), lw=1, color=color, alpha=0.3)
        # the number first, as matplotlib hides what begins with _; and a $ would begin a formula
        label = f"{best:.4f}  {one_line(name)}".replace("$", r"\$")
        axes.plot(*_xy(validation), marker="o", ms=4, lw=1.5, color=color, label=label)
        losses += [loss for _, loss in [*smooth, *validation]]
        highest = max([highest, *(loss for step, loss in validation if step)])
    if highest > -math.inf:
        axes.set_ylim(min(losses) - 0.05, highest + 0.3)
    axes.set_title("validation loss (faint: training, smoothed)", fontsize="medium")
    _save(axes, path)


def plot_trials(trials: Sequence["Trial"], suggestion: float, path: Path) -> None:
    """Draw the losses of a range test over its learning rates, and what it suggests.

    Args:
        trials: of `lr_find.try_rates`, at least one.
        suggestion: a learning rate.
        path: the PNG file, replaced if it is there.

    Raises:
        InputError: it cannot be written.
    """
    axes = _axes()
    rates = [trial.learning_rate for trial in trials]
    axes.plot(rates, [trial.loss for trial in trials], lw=0.6, label="loss")
    axes.plot(rates, [trial.smoothed for trial in trials], label="smoothed")
    axes.axvline(suggestion, ls="--", lw=1, color="gray", label=f"suggestion {suggestion:.1e}")
    axes.set(xscale="log", xlabel="learning rate")
    # the explosion at the end is taller than everything that tells something
    axes.set_ylim(0.9 * min(trial.loss for trial in trials), 1.5 * trials[0].smoothed)
    _save(axes, path, legend="lower left")


def _axes() -> "Axes":
    from matplotlib.figure import Figure  # without pyplot: no screen, no global state

    axes = Figure(figsize=(9, 5.5), layout="constrained").subplots()
    axes.set(xlabel="step", ylabel="loss (nats per token)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", lw=0.5, alpha=0.4)
    return axes


def _save(
    axes: "Axes", path: Path, legend: Literal["upper right", "lower left"] = "upper right"
) -> None:
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc=legend, framealpha=0.9)
    picture = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name in letters that the font lacks: it draws boxes
        axes.get_figure(root=True).savefig(picture, format="png", dpi=120)  # type: ignore[union-attr]
    write_atomically(path, picture.getvalue())


def _smooth(curve: Curve) -> Curve:
    losses = accumulate((loss for _, loss in curve), smoothed)
    return [(step, loss) for (step, _), loss in zip(curve, losses, strict=True)]


def _xy(curve: Curve) -> tuple[list[float], list[float]]:
    return [x for x, _ in curve], [y for _, y in curve]
