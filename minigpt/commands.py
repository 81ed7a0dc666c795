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
from minigpt.terminal import one_line, printable, say

if TYPE_CHECKING:
    from minigpt.runtime.library import Model
    from minigpt.runtime.params import SamplingParams
    from minigpt.runtime.pattern import Pattern
    from minigpt.training.checkpoint import Checkpoint


def train(arguments: argparse.Namespace) -> int:
    """Train a model."""
    from minigpt.train_command import run_training

    return run_training(arguments)


def generate(arguments: argparse.Namespace) -> int:
    """Write text to stdout as it comes."""
    from minigpt.runtime import generation
    from minigpt.runtime.draft import Draft
    from minigpt.runtime.params import KNOBS

    settings = {name: getattr(arguments, name) for name in KNOBS}
    prompt = _stdin() if arguments.prompt == "-" else arguments.prompt
    model = _open(arguments.model, arguments.device)
    params = model.params(ban=arguments.ban, bias=_biases(arguments.bias), **settings)
    pattern = model.pattern(arguments.pattern, params)
    ids = _prompt_ids(model, prompt)
    if arguments.explain:
        _explain(model, ids, params, pattern)
    about = {
        "prompt": prompt, "params": settings, "ban": arguments.ban, "bias": arguments.bias,
        "pattern": arguments.pattern, "model": model.card.name,
    }  # fmt: skip
    if arguments.beams:
        if arguments.stop:
            raise InputError("--beams looks for texts of one length: it goes without --stop")
        return _write_beams(arguments, model, ids, params, pattern, about)
    if arguments.n:
        return _write_samples(arguments, model, ids, params, pattern, about)
    stream = generation.generate(
        model.decoder, model.tokenizer, ids, lambda: params, stop=arguments.stop,
        pattern=pattern, draft=Draft.idle() if arguments.no_draft else model.draft,
    )  # fmt: skip
    if arguments.json:
        tokens = list(stream)
        _print_json({
            **about,
            "text": "".join(token.text for token in tokens),
            "tokens": len(tokens),
            "logprob": sum(token.logprob for token in tokens),
            "slid_at": [token.position for token in tokens if token.slid],
        })  # fmt: skip
        return 0
    on_terminal = sys.stdout.isatty()
    if on_terminal and sys.stderr.isatty():
        _write(sys.stderr, printable(prompt))  # so that a person reads the text from its beginning
    n_slides = 0
    for token in stream:
        n_slides += token.slid
        _write(sys.stdout, printable(token.text) if on_terminal else token.text)
    if on_terminal:
        _write(sys.stdout, "\n")
    if n_slides:
        times = "once" if n_slides == 1 else f"{n_slides} times"
        window = model.config.block_size
        say(f"note: the window of {window} characters was full {times}; its newest half was kept")
    return 0


def _write_samples(
    arguments: argparse.Namespace,
    model: "Model",
    ids: list[int],
    params: "SamplingParams",
    pattern: "Pattern | None",
    about: dict[str, object],
) -> int:
    """Several texts, a line of dashes between them."""
    from minigpt.runtime.batch import samples

    texts, logprobs = [""] * arguments.n, [0.0] * arguments.n
    stream = samples(
        model.decoder, model.tokenizer, ids, params, arguments.n,
        stop=arguments.stop, pattern=pattern,
    )  # fmt: skip
    for i, token in stream:
        texts[i] += token.text
        logprobs[i] += token.logprob
    return _print_texts(arguments, about, texts, logprobs)


def _write_beams(
    arguments: argparse.Namespace,
    model: "Model",
    ids: list[int],
    params: "SamplingParams",
    pattern: "Pattern | None",
    about: dict[str, object],
) -> int:
    """The likeliest text; in JSON all that were found."""
    from minigpt.runtime.batch import beam_search

    beams = beam_search(
        model.decoder, model.tokenizer, ids, params, arguments.beams, pattern=pattern
    )
    shown = beams if arguments.json else beams[:1]
    texts, logprobs = [beam.text for beam in shown], [beam.logprob for beam in shown]
    return _print_texts(arguments, about, texts, logprobs)


def _print_texts(
    arguments: argparse.Namespace,
    about: dict[str, object],
    texts: list[str],
    logprobs: list[float],
) -> int:
    if arguments.json:
        _print_json({**about, "texts": texts, "logprobs": logprobs})
    else:
        shown = [printable(text) for text in texts] if sys.stdout.isatty() else texts
        _write(sys.stdout, "\n----\n".join(shown) + "\n")
    return 0


def _biases(pairs: list[str]) -> dict[str, float]:
    """The numbers of texts like "e=-2"."""
    found: dict[str, float] = {}
    for pair in pairs:
        char, _, number = pair[:1], pair[1:2], pair[2:]
        try:
            found[char] = float(number)
        except ValueError:
            number = ""
        if not number or pair[1:2] != "=":
            raise InputError(
                f"--bias needs a character, = and a number, such as e=-2, not {pair!r}"
            )
    return found


def _explain(
    model: "Model", ids: list[int], params: "SamplingParams", pattern: "Pattern | None"
) -> None:
    """The likeliest first characters after each rule, a line a rule."""
    from minigpt.runtime.reader import read
    from minigpt.runtime.sampling import explain

    in_view = ids[-model.config.block_size :]
    row = read(model.decoder, in_view)
    allowed = pattern.allowed(pattern.start) if pattern else None
    if allowed is not None and not allowed.any():
        say("the pattern is matched before anything is written")
        return
    for name, found in explain(row, in_view, params, allowed=allowed):
        left = int((found.probs > 0).sum())
        ranked = (-found.probs).argsort(kind="stable")[: min(left, 8)]
        shown = (f"{model.tokenizer.chars[i]!r} {found.probs[i]:.1%}" for i in ranked)
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
    """Write a checkpoint's best model to one .onnx file, or to a folder for other runtimes."""
    from minigpt.files import refuse_to_overwrite, write_atomically, write_folder_atomically
    from minigpt.training import checkpoint
    from minigpt_export.genai import genai_files
    from minigpt_export.onnx_export import build_file

    wanted = [path for path in (arguments.onnx, arguments.genai) if path is not None]
    if not wanted:
        raise InputError("say what to write: --onnx FILE, --genai DIR, or both")
    for path in wanted:
        refuse_to_overwrite(path, force=arguments.force)
    found = _load_checkpoint(arguments.checkpoint)
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
            print(f"{key:16} {one_line(shown)}")
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
