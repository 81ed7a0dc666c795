"""A trained model into ONE .onnx file: graph, weights, config, tokenizer and card."""

import datetime
import json
from dataclasses import replace
from pathlib import Path

from onnx import ModelProto, helper

from minigpt.config import ModelCard, to_json
from minigpt.errors import InputError
from minigpt.files import write_atomically
from minigpt.model import GPT
from minigpt.runtime import onnx_file
from minigpt.runtime.onnx_decoder import OnnxDecoder
from minigpt.runtime.onnx_file import OnnxFile, check_fits, check_onnx
from minigpt.runtime.onnx_graph import Precision
from minigpt.tokenizer import CharTokenizer
from minigpt.torch_decoder import TorchDecoder
from minigpt_export.graph import build_graph
from minigpt_export.parity import ParityReport, compare


def export_onnx(
    model: GPT,
    tokenizer: CharTokenizer,
    card: ModelCard,
    text: str,
    path: Path,
    *,
    draft: str = "",
    precision: Precision = "fp32",
    force: bool = False,
) -> ParityReport:
    """Write what `build_file` makes to `path`, whole or not at all.

    Raises:
        InputError: as `build_file`, or `path` cannot be written.
    """
    file, report = build_file(
        model, tokenizer, card, text, path, draft=draft, precision=precision, force=force
    )
    write_atomically(path, file.content)
    return report


def build_file(
    model: GPT,
    tokenizer: CharTokenizer,
    card: ModelCard,
    text: str,
    path: Path,
    *,
    draft: str = "",
    precision: Precision = "fp32",
    force: bool = False,
) -> tuple[OnnxFile, ParityReport]:
    """Make the file of `model`, and prove that it says what the model says.

    Args:
        model: the trained model, on the CPU.
        tokenizer: its tokenizer.
        card: what is known of it; the date and the precision are added.
        text: real text of some windows to compare on.
        path: where the file will be; nothing is written yet.
        draft: the stored form of a table of guesses.
        precision: of the weights in it.
        force: make it even if it differs by more than `parity` allows.

    Raises:
        InputError: no file of that precision can hold the model, or the exported graph differs from
            the model by more than `parity` allows.
    """
    try:
        check_fits(model.config, precision)
    except InputError as error:
        raise InputError(f"{error}; choose another --precision, or train a smaller model") from None
    weights = {name: tensor.float().numpy() for name, tensor in model.state_dict().items()}
    proto = build_graph(model.config, weights, precision)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    card = replace(card, created=today, precision=precision)
    file = OnnxFile(path, model.config, tokenizer, card, proto.SerializeToString())
    ids = tokenizer.encode(text)
    report = compare(TorchDecoder(model), OnnxDecoder(file), tokenizer, ids, precision)
    report = replace(report, graph_bytes=len(file.content))
    if not report.passed and not force:
        raise InputError(
            f"the {precision} file would not be the model, nothing was written: {report}; "
            "choose another --precision, or --force"
        )
    add_metadata(proto, file, report, draft)
    return check_onnx(path, proto.SerializeToString()), report


def add_metadata(proto: ModelProto, file: OnnxFile, report: ParityReport, draft: str = "") -> None:
    """Put everything a laptop needs to know into the graph's metadata_props."""
    # deterministic, as onnx_file hashes the bytes that it finds in the file
    graph_bytes = proto.graph.SerializeToString(deterministic=True)
    texts = {
        onnx_file.CONFIG_KEY: to_json(file.config),
        onnx_file.TOKENIZER_KEY: file.tokenizer.to_json(),
        onnx_file.CARD_KEY: to_json(file.card),
        onnx_file.PARITY_KEY: json.dumps(report.to_dict(), sort_keys=True),
        onnx_file.DRAFT_KEY: draft,
    }
    helper.set_model_props(
        proto,
        {
            onnx_file.FORMAT_KEY: str(onnx_file.FORMAT),
            **texts,
            onnx_file.HASH_KEY: onnx_file.content_hash(graph_bytes, *texts.values()),
        },
    )
