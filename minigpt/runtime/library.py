"""Where models live: list them, find one by name, open it."""

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from minigpt.errors import InputError
from minigpt.runtime.model import Model

if TYPE_CHECKING:  # they import numpy; the terminal app lists models before its first paint
    from minigpt.runtime.decoder import Decoder
    from minigpt.runtime.onnx_file import OnnxFile

SHIPPED_NAME = "shakespeare.onnx"
RUNS = Path("checkpoints")
"""Where `minigpt train` writes, if it is not told otherwise."""
CHECKPOINTS = "*.safetensors"
MAX_THREADS = 1024
"""Where onnxruntime cannot start as many as it is told, it ends the process."""
_PACKAGE = Path(__file__).parent.parent


def shipped_model() -> Path:
    """The better of those that come with the package: in a wheel inside it, else beside it."""
    installed = _PACKAGE / "checkpoints" / SHIPPED_NAME
    return installed if installed.exists() else _PACKAGE.parent / "checkpoints" / SHIPPED_NAME


def list_models(folders: Iterable[Path] = (RUNS, Path())) -> list[Path]:
    """The shipped models and the .onnx files of some folders, by default ./checkpoints and here."""
    shipped = shipped_model()
    found = [shipped]
    for folder in (shipped.parent, *folders):
        with contextlib.suppress(OSError):  # the folder we are in may be gone
            found += sorted(folder.absolute().glob("*.onnx"))
    unique = {path.resolve(): path for path in found if path.is_file()}
    return list(unique.values())


def find_model(name: str | None, *, runs: bool = False) -> Path:
    """The path that a person means: a path, the name of a listed model, or None for the shipped.

    Args:
        name: a listed model's comes before a run's.
        runs: whether the folder of a run in ./checkpoints may be found by name too.

    Raises:
        InputError: there is no such file or name; the message lists the names there are.
    """
    if name is None:
        return shipped_model()
    path, by_name = Path(name), {model.stem: model for model in list_models()}
    run = find_run(name)
    try:
        # a folder that is only called like a model, and no run's, is not what is meant
        is_named = name in by_name or (runs and run is not None)
        is_other = is_named and path.is_dir() and not any(path.glob(CHECKPOINTS))
        if name and path.exists() and not is_other:  # "" would be the folder we are in
            return path
    except (OSError, ValueError):  # too long for a path, or a NUL in it: then it is none
        pass
    if name in by_name:
        return by_name[name]
    if run is None:
        names = dict.fromkeys([*by_name, *(_runs() if runs else ())])
        raise InputError(
            f"there is no file or model {name[:80]!r}; models found here: "
            f"{', '.join(names) or 'none'}"
        )
    if not runs:
        raise InputError(
            f"there is no model file {name!r}, but a training run, {run}: minigpt export makes a "
            "file of it"
        )
    return run


def _runs() -> list[str]:
    """The runs in ./checkpoints by name."""
    try:
        return sorted(path.name for path in RUNS.iterdir() if find_run(path.name))
    except OSError:  # there is no such folder
        return []


def find_run(name: str) -> Path | None:
    """The run of that name in ./checkpoints, if there is one with a checkpoint in it."""
    folder = RUNS / name
    if name in ("", ".", "..") or folder.name != name:  # a path, which is no name
        return None
    try:
        return folder if any(folder.glob(CHECKPOINTS)) else None
    except (OSError, ValueError):  # as in `find_model`
        return None


def run_path(path: Path) -> Path:
    """A run's folder, or its checkpoint, by path, or the folder by its name in ./checkpoints."""
    is_one = path.is_file() or any(path.glob(CHECKPOINTS))
    return path if is_one else find_run(str(path)) or path


def load(
    name: str | Path | None = None,
    *,
    threads: int | None = None,
    device: str = "cpu",
    sparing: bool = False,
) -> Model:
    """Open a .onnx file that minigpt exported.

    Args:
        name: the file, the name of a listed model, or None for the one that is shipped.
        threads: for onnxruntime on the CPU; None chooses by the model's size and, on Linux, by how
            many cores nobody else wants just now. They change the speed, and not a bit of what is
            computed.
        device: "cpu", or "cuda", for which onnxruntime-gpu must be installed.
        sparing: do not count free cores, and let the threads sleep between tokens: for a program
            that has something to do meanwhile, such as drawing a screen.

    Raises:
        InputError: the file is missing, damaged, foreign, or asks for what no model of ours needs;
            or there is no such device; or that is no number of threads.
    """
    if threads is not None and (type(threads) is not int or not 1 <= threads <= MAX_THREADS):
        raise InputError(f"threads must be a whole number, 1 to {MAX_THREADS}, not {threads!r:.20}")
    # onnxruntime takes 0.1 s to import; the terminal app lists models without it
    from minigpt.runtime.onnx_file import open_onnx

    path = name if isinstance(name, Path) else find_model(name)
    file = open_onnx(path)
    decoder = _decoder(file, threads, device, sparing=sparing)
    return Model(
        path, file.config, file.tokenizer, file.card, decoder, file.parity, file.draft,
        file.checksum,
    )  # fmt: skip


def _decoder(file: "OnnxFile", threads: int | None, device: str, *, sparing: bool) -> "Decoder":
    if device == "cuda":
        from minigpt.runtime.cuda_decoder import CudaDecoder

        return CudaDecoder(file)
    if device != "cpu":
        raise InputError(f"device must be cpu or cuda, not {device!r}")
    from minigpt.runtime.onnx_decoder import OnnxDecoder

    return OnnxDecoder(file, threads=threads, sparing=sparing)
