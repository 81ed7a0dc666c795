"""What each `minigpt` command does. Each imports what it needs when it runs.

Names of the `arguments` are those that `arguments.py` defines. Each returns the exit code.
"""

import argparse
import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from minigpt.cores import wait_asleep_beside_others
from minigpt.errors import InputError
from minigpt.files import refuse_lost_folder
from minigpt.terminal import one_line, print_json, say, shell_word

if TYPE_CHECKING:
    from minigpt.runtime.model import Model

MEMORIZED_CHARS = 10_000
"""How many `eval --memorized` lets a model write."""


def train(arguments: argparse.Namespace) -> int:
    """Train a model."""
    refuse_lost_folder()
    beside_others = arguments.device == "cpu" and wait_asleep_beside_others()
    from minigpt.train_command import run_training

    return run_training(arguments, beside_others=beside_others)


def lr_find(arguments: argparse.Namespace) -> int:
    """Try learning rates and print one to train with."""
    refuse_lost_folder()
    if arguments.device == "cpu":
        wait_asleep_beside_others()
    from minigpt.lr_find_command import run_lr_find

    return run_lr_find(arguments)


def runs(arguments: argparse.Namespace) -> int:
    """List and compare training runs."""
    from minigpt.runs_command import list_runs

    return list_runs(arguments)


def generate(arguments: argparse.Namespace) -> int:
    """Write text to stdout as it comes."""
    from minigpt.generate_command import run_generation

    return run_generation(arguments, open_model(arguments.model, arguments.device))


def chat(arguments: argparse.Namespace) -> int:
    """Talk with a model, line by line."""
    from minigpt.chat_command import run_chat

    return run_chat(arguments, open_model(arguments.model, arguments.device))


def export(arguments: argparse.Namespace) -> int:
    """Write a checkpoint's best model to one .onnx file, or to a folder for other runtimes."""
    refuse_lost_folder()
    from minigpt.files import refuse_to_overwrite, write_atomically, write_folder_atomically
    from minigpt.run_folder import load_best
    from minigpt.runtime.library import run_path
    from minigpt.training import checkpoint
    from minigpt_export.genai import genai_files
    from minigpt_export.onnx_export import build_file

    wanted = [path for path in (arguments.onnx, arguments.genai) if path is not None]
    if not wanted:
        raise InputError("say what to write: --onnx FILE, --genai DIR, or both")
    if arguments.onnx == arguments.genai:
        raise InputError(f"--onnx and --genai cannot both be {arguments.onnx}; give two names")
    for path in wanted:
        refuse_to_overwrite(path, force=arguments.force, folder=path is arguments.genai)
    run = run_path(arguments.checkpoint)
    found = load_best(run)
    if not math.isfinite(found.card.val_loss):
        raise InputError(
            f"{run} was saved before the run was first evaluated; export another "
            "checkpoint, or train on with --resume"
        )
    card = replace(found.card, name=arguments.name or found.card.name)
    model = checkpoint.build_model(found)
    file, report = build_file(
        model, found.tokenizer, card, found.excerpt, wanted[0], draft=found.draft,
        precision=arguments.precision, force=arguments.force,
    )  # fmt: skip
    if arguments.genai is not None:
        write_folder_atomically(arguments.genai, genai_files(file))
    if arguments.onnx is not None:
        write_atomically(arguments.onnx, file.content)
    written = " and ".join(map(str, wanted))
    say(f"{written}: {len(file.content) / 1e6:.1f} MB; {report}")
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    """Print the loss on a text, or how much of what the model writes is copied from it."""
    from minigpt.corpus import read_corpus, split
    from minigpt.runtime import evaluation
    from minigpt.runtime.params import KNOBS, SamplingParams

    settings = {name: value for name, value in vars(arguments).items() if name in KNOBS}
    params = SamplingParams(**{"max_new_tokens": MEMORIZED_CHARS, **settings})
    if settings and not arguments.memorized:
        flag = next(iter(settings)).replace("_", "-")
        raise InputError(f"--{flag} is about what the model writes: it goes with --memorized")
    corpus = read_corpus(arguments.text)
    model = open_model(arguments.model, arguments.device)
    ids = model.tokenizer.encode_array(corpus.text)
    if skipped := len(corpus.text) - len(ids):  # of what is left, a loss may well be a good one
        unknown = model.tokenizer.unknown(corpus.text)
        say(f"warning: {skipped:,} of {len(corpus.text):,} characters of the text are skipped: the "
            f"model has never seen {unknown[:40]!r}")  # fmt: skip
    if arguments.memorized:
        from minigpt.memorized_command import compare

        found = compare(model, corpus, ids, params)
        if arguments.json:
            print_json(found.facts())
        else:
            print(found.table())
        return 0
    train_ids, val_ids = split(ids)
    chosen = {"val": val_ids, "train": train_ids, "all": ids}[arguments.split].tolist()
    if len(chosen) < 2:
        others = ", or --split all" if len(ids) >= 2 else ""
        raise InputError(
            f"evaluation needs 2 characters, and the {arguments.split} split of this text has "
            f"{len(chosen)} that the model knows; give a longer text{others}"
        )
    loss = evaluation.evaluate(model.decoder, chosen)
    if arguments.json:
        name = "val_loss" if arguments.split == "val" else "loss"
        print_json({name: loss, "tokens": len(chosen) - 1, "split": arguments.split})
    else:
        print(f"{loss:.4f} nats per character over {len(chosen) - 1:,} characters "
              f"({arguments.split}), windows of {model.config.block_size}")  # fmt: skip
    return 0


def info(arguments: argparse.Namespace) -> int:
    """Print the model card."""
    model = open_model(arguments.model, "cpu")
    facts: dict[str, object] = {
        "file": str(model.path),
        **asdict(model.card),
        "parameters": model.config.n_params(),
        "config": asdict(model.config),
        "characters": model.tokenizer.chars,
    }
    if model.checksum:  # a file, whatever it is called
        facts["bytes"] = model.path.stat().st_size
        facts["parity"] = json.loads(model.parity)
    if arguments.json:
        print_json(facts)
    else:
        for key, value in facts.items():
            if key == "created" and not value:  # a checkpoint, which does not say
                continue
            shown = repr(value) if key == "characters" else _plain(value)
            print(f"{key:16} {one_line(shown)}")  # a line each: no value can look like another fact
    return 0


def _plain(value: object) -> str:
    """A fact as a person reads it."""
    if isinstance(value, dict):
        return "; ".join(f"{key} {_plain(each)}" for key, each in value.items())
    if isinstance(value, bool | None):
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.5g}" if math.isfinite(value) else "not measured yet"
    return str(value)


def look(arguments: argparse.Namespace) -> int:
    """Print what happens inside a model."""
    from minigpt import look_command

    return look_command.look(arguments)


def bench(arguments: argparse.Namespace) -> int:
    """Print speeds measured here."""
    from minigpt.runtime import bench as benchmark

    report = benchmark.bench(
        lambda: open_model(arguments.model, arguments.device), tokens=arguments.tokens
    )
    if arguments.json:
        print_json(asdict(report))
    else:
        memory = "-" if report.peak_memory_mb is None else f"{report.peak_memory_mb:.0f} MB"
        print(f"decode       {report.tokens_per_s:,.0f} tokens/s "
              f"({report.tokens_per_s_without_guesses:,.0f} without guesses)\n"
              f"first token  {report.first_token_ms:.1f} ms\n"
              f"load         {report.load_ms:.0f} ms\n"
              f"peak memory  {memory}")  # fmt: skip
    return 0


def data(arguments: argparse.Namespace) -> int:
    """Download a training text."""
    from minigpt.corpus import download_shakespeare

    size = download_shakespeare(arguments.out, force=arguments.force)
    say(f"{arguments.out}: {size:,} bytes, checksum right; "
         f"train on it: minigpt train {shell_word(arguments.out)}")  # fmt: skip
    return 0


def open_model(name: str | None, device: str) -> "Model":
    """A model from an .onnx file (onnxruntime) or from a checkpoint (PyTorch)."""
    from minigpt.runtime import library

    path = library.find_model(name, runs=True)
    if path.is_dir() or path.suffix == ".safetensors":
        return _open_checkpoint(path, device)
    return library.load(path, device=device)


def _open_checkpoint(path: Path, device: str) -> "Model":
    refuse_lost_folder()
    from minigpt.run_folder import load_best
    from minigpt.runtime.model import Model
    from minigpt.torch_decoder import TorchDecoder, check_device
    from minigpt.training import checkpoint

    check_device(device)
    found = load_best(path)
    decoder = TorchDecoder(checkpoint.build_model(found).to(device))
    return Model(path, found.model, found.tokenizer, found.card, decoder)
