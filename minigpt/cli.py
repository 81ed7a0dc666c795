"""The `minigpt` command. Only the arguments are read here; each command imports what it needs.

stdout carries the product (text, or JSON), stderr the talk. A mistake that the user can mend is
one sentence on stderr and exit code 2.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minigpt import __version__
from minigpt.config import PRESETS
from minigpt.errors import InputError
from minigpt.terminal import printable, say

if TYPE_CHECKING:
    from minigpt.runtime.library import Model
    from minigpt.training.checkpoint import Checkpoint

EXIT_INPUT_ERROR = 2
EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if not hasattr(arguments, "run"):
        parser.print_help(sys.stderr)
        return EXIT_INPUT_ERROR
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that cannot show a character shows "?"
            stream.reconfigure(errors="replace")
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except InputError as error:
        say(f"minigpt: {error}")
        return EXIT_INPUT_ERROR
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "onnx", "safetensors", "matplotlib", "minigpt_export"):
            raise
        say(
            f"minigpt: `minigpt {arguments.command}` needs {error.name}, which is not installed; "
            "run: pip install 'minigpt[train]' (in a checkout: pip install '.[train]')"
        )
        return EXIT_INPUT_ERROR
    except BrokenPipeError:
        # the reader went away (`| head`); Python would complain once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="minigpt", description="A small GPT.")
    parser.add_argument("--version", action="version", version=f"minigpt {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")

    def command(name: str, run: Callable[[Any], int], summary: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=summary, description=summary)
        sub.set_defaults(run=run)
        return sub

    _train_arguments(command("train", _train, "Train a model on text (needs the train extra)."))
    _generate_arguments(command("generate", _generate, "Write text, to stdout, as it comes."))

    export = command("export", _export, "Export a checkpoint (needs the train extra).")
    export.add_argument("checkpoint", type=Path, help="a folder that minigpt train wrote")
    export.add_argument("--onnx", type=Path, required=True, metavar="FILE", help="file to write")
    export.add_argument("--name", help="name on the model card; default: the folder's")
    export.add_argument("--force", action="store_true", help="replace FILE if it exists")

    evaluate = command("eval", _eval, "Measure the loss on a text, in nats per character.")
    _model_argument(evaluate)
    evaluate.add_argument("text", type=Path, nargs="+", help="UTF-8 text files")
    evaluate.add_argument("--split", choices=("val", "train", "all"), default="val",
                          help="last 10%%, first 90%%, or everything; default val")  # fmt: skip
    _device_argument(evaluate)
    _json_argument(evaluate)

    info = command("info", _info, "Show a model's card: what it is and what it learned from.")
    _model_argument(info, optional=True)
    _json_argument(info)

    bench = command("bench", _bench, "Measure decoding speed, time to first token, load, memory.")
    _model_argument(bench, optional=True)
    bench.add_argument("--tokens", type=_positive, default=512, help="per round; default 512")
    _device_argument(bench)
    _json_argument(bench)

    data = command("data", _data, "Download a training text.")
    data.add_argument("name", choices=("shakespeare",), help="tiny Shakespeare, 1.1 MB")
    data.add_argument("--out", type=Path, default=Path("shakespeare.txt"), help="file to write")
    data.add_argument("--force", action="store_true", help="replace the file if it exists")
    return parser


def _train_arguments(train: argparse.ArgumentParser) -> None:
    presets = "; ".join(f"{name}: {preset.summary}" for name, preset in PRESETS.items())
    train.add_argument("text", type=Path, nargs="*", help="UTF-8 text files to learn from")
    train.add_argument("--corpus", choices=("pydoc",),
                       help="instead of files: Python's own documentation")  # fmt: skip
    train.add_argument("--preset", help=f"default laptop. {presets}")
    train.add_argument("--out", type=Path, help="folder to write; default checkpoints/NAME")
    train.add_argument("--max-steps", type=_positive, help="optimizer steps")
    train.add_argument("--seed", type=int, help="of weights, batches and dropout")
    train.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                       help="any setting of the model or the training, e.g. n_layer=6")  # fmt: skip
    train.add_argument("--resume", action="store_true", help="go on with the run in --out")
    train.add_argument("--force", action="store_true", help="start anew in --out, losing its run")
    train.add_argument("--plain", action="store_true", help="lines instead of a live view")
    _device_argument(train)


def _generate_arguments(generate: argparse.ArgumentParser) -> None:
    from minigpt.runtime.params import KNOBS, SamplingParams

    _model_argument(generate, optional=True)
    generate.add_argument("--prompt", default="", help="text to go on from; - reads stdin")
    defaults = SamplingParams()
    for name, knob in KNOBS.items():
        default = getattr(defaults, name)
        generate.add_argument(
            f"--{name.replace('_', '-')}", type=type(default), default=default,
            metavar=name[0].upper() if len(name) < 6 else name.split("_")[-1].upper(),
            help=f"{knob.help}; default {default}",
        )  # fmt: skip
    generate.add_argument("--stop", action="append", default=[], metavar="TEXT",
                          help="end before this text; may be given more than once")  # fmt: skip
    _device_argument(generate)
    _json_argument(generate)


def _model_argument(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    what = "an .onnx file, its name, or a checkpoint folder"
    if optional:
        parser.add_argument("model", nargs="?", help=f"{what}; default: the shipped model")
    else:
        parser.add_argument("model", help=what)


def _device_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default cpu")


def _json_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


def _train(arguments: argparse.Namespace) -> int:
    from minigpt.train_command import run_training

    return run_training(arguments)


def _generate(arguments: argparse.Namespace) -> int:
    from minigpt.runtime.generation import generate
    from minigpt.runtime.params import KNOBS, SamplingParams

    params = SamplingParams(**{name: getattr(arguments, name) for name in KNOBS})
    prompt = sys.stdin.read() if arguments.prompt == "-" else arguments.prompt
    model = _open(arguments.model, arguments.device)
    ids = _prompt_ids(model, prompt)
    stream = generate(model.decoder, model.tokenizer, ids, lambda: params, stop=arguments.stop)
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


def _prompt_ids(model: "Model", prompt: str) -> list[int]:
    """The prompt's ids; tells of characters that the model does not know, and skips them."""
    if not prompt:  # a text begins like a new line
        return model.tokenizer.encode("\n") or [0]
    ids = model.tokenizer.encode(prompt)
    if not ids:
        raise InputError(
            f"the model knows no character of the prompt {prompt[:40]!r}; "
            f"it knows {model.tokenizer.chars!r}"
        )
    if unknown := model.tokenizer.unknown(prompt):
        say(f"warning: the model has never seen {unknown[:40]!a}; skipped in the prompt")
    if len(ids) > (window := model.config.block_size):
        say(f"warning: the prompt has {len(ids)} characters; the model reads its last {window}")
    return ids


def _export(arguments: argparse.Namespace) -> int:
    from minigpt.files import refuse_to_overwrite
    from minigpt.training import checkpoint
    from minigpt_export.onnx_export import export_onnx

    refuse_to_overwrite(arguments.onnx, force=arguments.force)
    found = _load_checkpoint(arguments.checkpoint)
    card = replace(found.card, name=arguments.name or found.card.name)
    report = export_onnx(checkpoint.build_model(found), found.tokenizer, card, arguments.onnx)
    size = arguments.onnx.stat().st_size
    say(f"{arguments.onnx}: {size / 1e6:.1f} MB; {report}")
    return 0


def _eval(arguments: argparse.Namespace) -> int:
    from minigpt.corpus import read_corpus, split
    from minigpt.runtime.evaluation import evaluate

    text = read_corpus(arguments.text).text
    model = _open(arguments.model, arguments.device)
    if unknown := model.tokenizer.unknown(text):
        say(f"warning: the model has never seen {unknown[:40]!a}; skipped in the text")
    ids = model.tokenizer.encode_array(text)
    train_ids, val_ids = split(ids)
    chosen = {"val": val_ids, "train": train_ids, "all": ids}[arguments.split].tolist()
    loss = evaluate(model.decoder, chosen)
    if arguments.json:
        _print_json({"val_loss": loss, "tokens": len(chosen) - 1, "split": arguments.split})
    else:
        print(f"{loss:.4f} nats per character over {len(chosen) - 1:,} characters "
              f"({arguments.split}), windows of {model.config.block_size}")  # fmt: skip
    return 0


def _info(arguments: argparse.Namespace) -> int:
    model = _open(arguments.model, "cpu")
    facts: dict[str, object] = {
        "file": str(model.path),
        **asdict(model.card),
        "parameters": model.config.n_params(),
        "config": asdict(model.config),
        "characters": model.tokenizer.chars,
    }
    if model.path.is_file():
        facts["bytes"] = model.path.stat().st_size
    if arguments.json:
        _print_json(facts)
    else:
        for key, value in facts.items():
            shown = repr(value) if key == "characters" else str(value)
            print(f"{key:16} {printable(shown)}")
    return 0


def _bench(arguments: argparse.Namespace) -> int:
    from minigpt.runtime.bench import bench

    report = bench(lambda: _open(arguments.model, arguments.device), tokens=arguments.tokens)
    if arguments.json:
        _print_json(asdict(report))
    else:
        memory = "-" if report.peak_memory_mb is None else f"{report.peak_memory_mb:.0f} MB"
        print(f"decode       {report.tokens_per_s:,.0f} tokens/s\n"
              f"first token  {report.first_token_ms:.1f} ms\n"
              f"load         {report.load_ms:.0f} ms\n"
              f"peak memory  {memory}")  # fmt: skip
    return 0


def _data(arguments: argparse.Namespace) -> int:
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
    print(json.dumps(value, ensure_ascii=False))


if __name__ == "__main__":
    raise SystemExit(main())
