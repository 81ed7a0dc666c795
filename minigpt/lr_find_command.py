"""`minigpt lr-find`: the rates that are tried as a table, the suggestion, a picture."""

import argparse
from pathlib import Path

from minigpt.errors import InputError
from minigpt.files import refuse_to_overwrite
from minigpt.run_arguments import IDS_FOLDER, describe_run, read_corpus_argument
from minigpt.runtime.library import RUNS
from minigpt.terminal import say
from minigpt.torch_decoder import check_device
from minigpt.training.lr_find import Trial, suggest_rate, try_rates
from minigpt.training.plot import plot_trials
from minigpt.training.world import World

EVERY = 5
"""Trials a line: a power of ten in about three lines."""


def run_lr_find(arguments: argparse.Namespace) -> int:
    """Try learning rates as the arguments say; returns the exit code."""
    check_device(arguments.device)
    if arguments.plot.suffix != ".png":
        raise InputError(f"--plot needs a name that ends with .png, not {str(arguments.plot)!r}")
    refuse_to_overwrite(arguments.plot, force=True)
    corpus = read_corpus_argument(arguments, RUNS / IDS_FOLDER)
    run = describe_run(arguments, corpus, Path(), World(device=arguments.device))
    trials: list[Trial] = []
    for trial in try_rates(run):
        if not trials:
            print("learning rate    loss")
        if len(trials) % EVERY == 0:
            bar = "█" * min(60, round(10 * trial.smoothed))
            print(f"{trial.learning_rate:13.1e}  {trial.smoothed:6.3f}  {bar}", flush=True)
        trials.append(trial)
    rate = suggest_rate(trials)
    plot_trials(trials, rate, arguments.plot)
    print(f"suggestion: learning_rate={rate:.1e}, a tenth of where the loss is lowest")
    muon = run.train.muon_learning_rate * rate / run.train.learning_rate
    say(f"{arguments.plot} shows it; to train with it, add --set learning_rate={rate:.1e} "
         f"--set muon_learning_rate={muon:.1e}")  # fmt: skip
    return 0
