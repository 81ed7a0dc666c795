"""What each `minigpt` command does. Each imports what it needs when it runs.

Names of the `arguments` are those that `cli.py` defines. Each returns the exit code.
"""

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minigpt.errors import InputError
from minigpt.terminal import printable, say

if TYPE_CHECKING:
    from minigpt.runtime.library import Model
    from minigpt.runtime.params import SamplingParams
    from minigpt.training.checkpoint import Checkpoint


def train(arguments: argparse.Namespace) -> int:
    """Train a model."""
    from minigpt.train_command import run_training

    return run_training(arguments)


def generate(arguments: argparse.Namespace) -> int:
    """Write text to stdout as it comes."""
    from minigpt.runtime import generation
    from minigpt.runtime import params as parameters

    settings = {name: getattr(arguments, name) for name in parameters.KNOBS}
    params = parameters.SamplingParams(**settings)
    prompt = _stdin() if arguments.prompt == "-" else arguments.prompt
    model = _open(arguments.model, arguments.device)
    ids = _prompt_ids(model, prompt)
    if arguments.explain:
        _explain(model, ids, params)
    stream = generation.generate(
        model.decoder, model.tokenizer, ids, lambda: params, stop=arguments.stop
    )
    if arguments.json:
        tokens = list(stream)
        text = "".join(token.text for token in tokens)
        logprob = sum(token.logprob for token in tokens)
        _print_json({"prompt": prompt, "text": text, "tokens": len(tokens), "logprob": logprob,
                     "params": asdict(params), "model": model.card.name})  # fmt: skip
        return 0
    on_terminal = sys.stdout.isatty()
    if on_terminal and sys.stderr.isatty():
        _write(sys.stderr, printable(prompt))  # so that a person reads the text from its beginning
    for token in stream:
        _write(sys.stdout, printable(token.text) if on_terminal else token.text)
    if on_terminal:
        _write(sys.stdout, "\n")
    return 0


def _explain(model: "Model", ids: list[int], params: "SamplingParams") -> None:
    """The likeliest first characters after each rule, a line a rule."""
    from minigpt.runtime.sampling import explain

    in_view = ids[-model.config.block_size :]
    model.decoder.rewind(0)
    row = model.decoder.feed(in_view)[-1]
    for name, found in explain(row, in_view, params):
        ranked = found.probs.argsort(kind="stable")[::-1][:8]
        shown = (f"{model.tokenizer.chars[i]!r} {found.probs[i]:.1%}" for i in ranked)
        left = int((found.probs > 0).sum())
        say(f"{name:20}{left:3} left: {'  '.join(shown)}")


def _stdin() -> str:
    if sys.stdin is None:
        raise InputError("--prompt - reads standard input, and there is none")
    if hasattr(sys.stdin, "reconfigure"):  # bytes that are no text are skipped like unknown ones
        sys.stdin.reconfigure(errors="surrogateescape")
    return sys.stdin.read()


def _prompt_ids(model: "Model", prompt: str) -> list[int]:
    """The prompt's ids; tells of characters that the model does not know, and skips them."""
    if not prompt:
        return model.tokenizer.start
    ids = model.tokenizer.encode(prompt)
    if not ids:
        raise InputError(
            f"the model knows no character of the prompt {prompt[:40]!r}; "
            f"it knows {model.tokenizer.chars[:100]!r}"
        )
    if unknown := model.tokenizer.unknown(prompt):
        say(f"warning: the model has never seen {unknown[:40]!a}; skipped in the prompt")
    if len(ids) > (window := model.config.block_size):
        say(f"warning: the prompt has {len(ids)} characters; the model reads its last {window}")
    return ids


def export(arguments: argparse.Namespace) -> int:
    """Write a checkpoint's best model to one .onnx file."""
    from minigpt.files import refuse_to_overwrite
    from minigpt.training import checkpoint
    from minigpt_export.onnx_export import export_onnx

    refuse_to_overwrite(arguments.onnx, force=arguments.force)
    found = _load_checkpoint(arguments.checkpoint)
    card = replace(found.card, name=arguments.name or found.card.name)
    model = checkpoint.build_model(found)
    report = export_onnx(
        model, found.tokenizer, card, found.excerpt, arguments.onnx,
        precision=arguments.precision, force=arguments.force,
    )  # fmt: skip
    size = arguments.onnx.stat().st_size
    say(f"{arguments.onnx}: {size / 1e6:.1f} MB; {report}")
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    """Print the loss on a text."""
    from minigpt.corpus import read_corpus, split
    from minigpt.runtime import evaluation

    text = read_corpus(arguments.text).text
    model = _open(arguments.model, arguments.device)
    if unknown := model.tokenizer.unknown(text):
        say(f"warning: the model has never seen {unknown[:40]!a}; skipped in the text")
    ids = model.tokenizer.encode_array(text)
    train_ids, val_ids = split(ids)
    chosen = {"val": val_ids, "train": train_ids, "all": ids}[arguments.split].tolist()
    if len(chosen) < 2:
        raise InputError(
            f"the {arguments.split} split of this text has {len(chosen)} characters, evaluation "
            "needs 2; give a longer text, or --split all"
        )
    loss = evaluation.evaluate(model.decoder, chosen)
    if arguments.json:
        _print_json({"val_loss": loss, "tokens": len(chosen) - 1, "split": arguments.split})
    else:
        print(f"{loss:.4f} nats per character over {len(chosen) - 1:,} characters "
              f"({arguments.split}), windows of {model.config.block_size}")  # fmt: skip
    return 0


def info(arguments: argparse.Namespace) -> int:
    """Print the model card."""
    model = _open(arguments.model, "cpu")
    facts: dict[str, object] = {
        "file": str(model.path),
        **asdict(model.card),
        "parameters": model.config.n_params(),
        "config": asdict(model.config),
        "characters": model.tokenizer.chars,
    }
    if model.path.suffix == ".onnx":
        facts["bytes"] = model.path.stat().st_size
        facts["parity"] = json.loads(model.parity)
    if arguments.json:
        _print_json(facts)
    else:
        for key, value in facts.items():
            shown = repr(value) if key == "characters" else str(value)
            print(f"{key:16} {printable(shown)}")
    return 0


def bench(arguments: argparse.Namespace) -> int:
    """Print speeds measured here."""
    from minigpt.runtime import bench as benchmark

    report = benchmark.bench(
        lambda: _open(arguments.model, arguments.device), tokens=arguments.tokens
    )
    if arguments.json:
        _print_json(asdict(report))
    else:
        memory = "-" if report.peak_memory_mb is None else f"{report.peak_memory_mb:.0f} MB"
        print(f"decode       {report.tokens_per_s:,.0f} tokens/s\n"
              f"first token  {report.first_token_ms:.1f} ms\n"
              f"load         {report.load_ms:.0f} ms\n"
              f"peak memory  {memory}")  # fmt: skip
    return 0


def data(arguments: argparse.Namespace) -> int:
    """Download a training text."""
    from minigpt.corpus import download_shakespeare

    size = download_shakespeare(arguments.out, force=arguments.force)
    say(f"{arguments.out}: {size:,} bytes, checksum right; "
         f"train on it: minigpt train {arguments.out}")  # fmt: skip
    return 0


def _open(name: str | None, device: str) -> "Model":
    """A model from an .onnx file (onnxruntime) or from a checkpoint (PyTorch)."""
    from minigpt.runtime import library

    path = library.find_model(name)
    if path.is_dir() or path.suffix == ".safetensors":
        return _open_checkpoint(path, device)
    if device != "cpu":
        raise InputError(".onnx files run on the CPU: drop --device, or give a checkpoint folder")
    return library.load(path)


def _open_checkpoint(path: Path, device: str) -> "Model":
    from minigpt.runtime.library import Model
    from minigpt.torch_decoder import TorchDecoder, check_device
    from minigpt.training import checkpoint

    check_device(device)
    found = _load_checkpoint(path)
    decoder = TorchDecoder(checkpoint.build_model(found).to(device))
    return Model(path, found.model, found.tokenizer, found.card, decoder)


def _load_checkpoint(path: Path) -> "Checkpoint":
    from minigpt.training import checkpoint

    found, refused = checkpoint.load_first(path, checkpoint.TO_USE)
    for sentence in refused:
        say(f"warning: {sentence}; using another checkpoint of the run")
    return found


def _write(stream: Any, text: str) -> None:
    stream.write(text)
    stream.flush()


def _print_json(value: dict[str, object]) -> None:
    # on a terminal only what is safe to show; JSON can say it all in ASCII
    print(json.dumps(value, ensure_ascii=sys.stdout.isatty()))
