"""What can be said to the `minigpt` command: its arguments, and their help."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from minigpt import __version__, commands
from minigpt.config import PRESETS
from minigpt.files import matching
from minigpt.runtime.onnx_graph import PRECISIONS
from minigpt.runtime.params import KNOBS, SamplingParams
from minigpt.terminal import Parser


class _Paths(argparse.Action):
    """Several paths, patterns such as *.txt among them: on Windows no shell fills those in."""

    def __call__(
        self, parser: object, namespace: object, values: Any, option: object = None
    ) -> None:
        setattr(namespace, self.dest, [path for each in values for path in matching(each)])


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """As `parse_args`, but the command that does not know an argument says so: its help helps."""
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        own: argparse.ArgumentParser = getattr(arguments, "parser", parser)
        own.error(f"unrecognized arguments: {' '.join(unknown)}")
    return arguments


def make_parser() -> argparse.ArgumentParser:
    """Of the whole command; what it parses has `run`, of `commands.py`, and its own `parser`."""
    parser = Parser(prog="minigpt", description="A small GPT.")
    parser.add_argument("--version", action="version", version=f"minigpt {__version__}")
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")

    def command(name: str, run: Callable[[Any], int], summary: str) -> argparse.ArgumentParser:
        sub = subparsers.add_parser(name, help=summary, description=summary)
        sub.set_defaults(run=run, parser=sub)
        return sub

    _train_arguments(command("train", commands.train, "Train a model on text."))
    lr_find = command("lr-find", commands.lr_find, "Look for a learning rate to train with.")
    _run_arguments(lr_find)
    lr_find.set_defaults(compile=False)  # too few steps to pay for it
    lr_find.add_argument("--plot", type=_path, default=Path("lr-find.png"), metavar="FILE",
                         help="PNG file to write or replace; default lr-find.png")  # fmt: skip

    runs = command("runs", commands.runs, "List and compare training runs.")
    runs.add_argument("folders", type=_path, nargs="*", action=_Paths, metavar="FOLDER",
                      help="a run, its name, or a folder of runs; default checkpoints")  # fmt: skip
    runs.add_argument("--plot", type=_path, metavar="FILE.png", help="draw all their losses")
    _json_argument(runs)

    _generate_arguments(command("generate", commands.generate, "Write text to stdout."))
    _chat_arguments(command("chat", commands.chat, "Talk with a model, line by line."))

    export = command("export", commands.export, "Export a checkpoint to .onnx.")
    export.add_argument("checkpoint", type=_path,
                        help="a folder that minigpt train wrote, or its name")  # fmt: skip
    export.add_argument("--onnx", type=_path, metavar="FILE", help="file to write")
    export.add_argument("--genai", type=_path, metavar="DIR",
                        help="folder for onnxruntime-genai, optimum, transformers.js")  # fmt: skip
    export.add_argument("--precision", choices=PRECISIONS, default="fp32",
                        help="of the weights; default fp32")  # fmt: skip
    export.add_argument("--name", help="name on the model card; default: the folder's")
    export.add_argument(
        "--force",
        action="store_true",
        help="replace FILE or DIR, and write it even if the precision costs too much",
    )

    evaluate = command("eval", commands.evaluate, "Measure the loss on a text, or what is copied.")
    _evaluate_arguments(evaluate)

    info = command("info", commands.info, "Show the card of a model.")
    _model_argument(info, optional=True)
    _json_argument(info)

    look = command("look", commands.look, "Show what each layer of a model would say.")
    look.add_argument("model", nargs="?",
                      help="an .onnx file or its name; default: the shipped model")  # fmt: skip
    look.add_argument("--text", required=True, help="what the model reads")
    look.add_argument("--layer", type=_at_least(1), metavar="L",
                      help="show where the last character looked in this layer too")  # fmt: skip
    look.add_argument("--head", type=_at_least(1), metavar="H",
                      help="with --layer: by this head; default the mean of all")  # fmt: skip
    _json_argument(look)

    bench = command("bench", commands.bench, "Measure speed and memory here.")
    _model_argument(bench, optional=True)
    bench.add_argument("--tokens", type=_at_least(2), default=512, help="per round; default 512")
    _device_argument(bench)
    _json_argument(bench)

    data = command("data", commands.data, "Download a training text.")
    data.add_argument("name", choices=("shakespeare",), help="tiny Shakespeare, 1.1 MB")
    data.add_argument("--out", type=_path, default=Path("shakespeare.txt"), help="file to write")
    data.add_argument("--force", action="store_true", help="replace the file if it exists")
    return parser


def _train_arguments(train: argparse.ArgumentParser) -> None:
    _run_arguments(train)
    train.add_argument("--out", type=_run_folder, help="folder to write; default checkpoints/NAME")
    train.add_argument("--max-steps", type=_at_least(1), help="optimizer steps")
    train.add_argument("--minutes", type=float, metavar="M",
                       help="measure first, then plan as many steps as fit")  # fmt: skip
    train.add_argument("--patience", type=_at_least(0), metavar="N",
                       help="end after N evaluations without a better one; 0: never")  # fmt: skip
    older = train.add_mutually_exclusive_group()
    older.add_argument("--resume", action="store_true", help="go on with the run in --out")
    older.add_argument("--force", action="store_true", help="start anew in --out, losing its run")
    train.add_argument("--compile", action=argparse.BooleanOptionalAction,
                       help="faster steps after half a minute; default with cuda")  # fmt: skip
    train.add_argument("--shard", action="store_true",
                       help="with torchrun: each process holds a part of the model")  # fmt: skip
    train.add_argument("--plain", action="store_true", help="lines instead of a live view")
    train.add_argument("--tensorboard", action="store_true",
                       help="write event files for TensorBoard too")  # fmt: skip


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    """What is learned from, and how; the later of preset, file and flags wins."""
    presets = "; ".join(f"{name}: {preset.summary}" for name, preset in PRESETS.items())
    parser.add_argument("text", type=_path, nargs="*", action=_Paths,
                        help="UTF-8 text files to learn from")  # fmt: skip
    parser.add_argument("--corpus", type=_no_file, metavar="pydoc",
                        help="instead of files: Python's own documentation")  # fmt: skip
    parser.add_argument("--preset", help=f"default laptop. {presets}")
    parser.add_argument("--from", dest="start", metavar="MODEL",
                        help="begin with what a model has learned: an .onnx file, a run, or the "
                        "name of one")  # fmt: skip
    parser.add_argument("--config", type=_path, metavar="FILE",
                        help="TOML file of settings, such as the run.toml of a run")  # fmt: skip
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="any setting of model or training, e.g. n_layer=6")  # fmt: skip
    parser.add_argument("--seed", type=int, help="of weights, batches and dropout")
    _device_argument(parser)


def _generate_arguments(generate: argparse.ArgumentParser) -> None:
    _model_argument(generate, optional=True)
    generate.add_argument("--prompt", default="", help="text to go on from; - reads stdin")
    _sampling_arguments(generate)
    generate.add_argument("--stop", action="append", default=[], metavar="TEXT",
                          help="end before this text; may be given more than once")  # fmt: skip
    generate.add_argument(
        "--pattern",
        metavar="REGEX",
        help="write only what can become a match of this, and end with it",
    )
    several = generate.add_mutually_exclusive_group()
    several.add_argument(
        "--n",
        type=_at_least(1),
        metavar="N",
        help="write N texts side by side, with the seeds from --seed on; takes no guesses",
    )
    several.add_argument(
        "--beams",
        type=_at_least(1),
        metavar="W",
        help="look for the text that is likeliest under the rules that count, W at a time (beam "
        "search); leaves nothing to chance",
    )
    generate.add_argument(
        "--no-draft",
        action="store_true",
        help="do not check guesses along the way; slower, the same text",
    )
    generate.add_argument("--explain", action="store_true",
                          help="first show, on stderr, what each rule leaves")  # fmt: skip
    _device_argument(generate)
    _json_argument(generate)


def _chat_arguments(chat: argparse.ArgumentParser) -> None:
    _model_argument(chat, optional=True)
    chat.add_argument("--me", metavar="NAME", help="whom you speak as; default: one it knows")
    chat.add_argument(
        "--as",
        dest="you",
        metavar="NAME",
        help="whom the model answers as; default: another one it knows; '' for both: no names",
    )
    _sampling_arguments(chat)
    _device_argument(chat)


def _sampling_arguments(parser: argparse.ArgumentParser) -> None:
    """The settings of the draw: a flag for every Knob, and characters to ban or favour."""
    defaults = SamplingParams()
    for name in KNOBS:
        _knob_argument(parser, name, default := getattr(defaults, name), default)
    parser.add_argument("--ban", default="", metavar="CHARS", help="never write these characters")
    parser.add_argument(
        "--bias",
        action="append",
        default=[],
        metavar="C=N",
        help="add N to the logit of character C, e.g. --bias e=-2; may be given more than once",
    )


def _knob_argument(
    parser: argparse.ArgumentParser, name: str, shown: float, default: object, when: str = ""
) -> None:
    parser.add_argument(
        f"--{name.replace('_', '-')}", type=type(shown), default=default,
        metavar=name.split("_")[-1][0].upper(),
        help=f"{when}{KNOBS[name].help}; default {shown}",
    )  # fmt: skip


def _evaluate_arguments(evaluate: argparse.ArgumentParser) -> None:
    _model_argument(evaluate)
    evaluate.add_argument("text", type=_path, nargs="+", action=_Paths, help="UTF-8 text files")
    measure = evaluate.add_mutually_exclusive_group()
    measure.add_argument("--split", choices=("val", "train", "all"), default="val",
                         help="last 10%%, first 90%%, or everything; default val")  # fmt: skip
    measure.add_argument(
        "--memorized",
        action="store_true",
        help="instead of the loss: how much of what the model writes is copied from the first 90%%",
    )
    defaults = SamplingParams(max_new_tokens=commands.MEMORIZED_CHARS)
    for name in ("max_new_tokens", "temperature", "seed"):
        _knob_argument(
            evaluate, name, getattr(defaults, name), argparse.SUPPRESS, "with --memorized: "
        )
    _device_argument(evaluate)
    _json_argument(evaluate)


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


def _no_file(corpus: str) -> str:
    """Say to whoever names a file here, as with other tools, where it belongs."""
    if corpus != "pydoc":
        raise argparse.ArgumentTypeError(
            f"must be pydoc, not {corpus!r}: a text file is given without --corpus"
        )
    return corpus


def _path(text: str) -> Path:
    """Refuse "", which would be the folder we are in: a variable of the shell may be unset."""
    if not text:
        raise argparse.ArgumentTypeError("must name a file or a folder, not ''")
    return Path(text)


def _run_folder(text: str) -> Path:
    """Refuse what gives the run no name: "", which would be the folder we are in, and the root."""
    if not text or not Path(text).resolve().name:
        raise argparse.ArgumentTypeError(f"must be a folder with a name, not {text!r}")
    return Path(text)


def _at_least(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"must be a whole number from {least} on, not {text!r}"
            )
        return int(text)

    return parse
