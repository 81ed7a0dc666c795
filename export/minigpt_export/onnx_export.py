"""A trained model into ONE .onnx file: graph, weights, config, tokenizer and card."""

import datetime
from dataclasses import replace
from pathlib import Path

from onnx import ModelProto, helper

from minigpt import __version__
from minigpt.config import ModelCard, to_json
from minigpt.errors import InputError
from minigpt.files import write_atomically
from minigpt.model import GPT
from minigpt.runtime import onnx_file
from minigpt.runtime.onnx_decoder import OnnxDecoder
from minigpt.runtime.onnx_file import OnnxFile
from minigpt.tokenizer import CharTokenizer
from minigpt.torch_decoder import TorchDecoder
from minigpt_export.graph import build_graph
from minigpt_export.parity import ParityReport, compare


def export_onnx(
    model: GPT, tokenizer: CharTokenizer, card: ModelCard, text: str, path: Path
) -> ParityReport:
    """Write `model` to `path`, after proving that the file says what the model says.

    Args:
        model: the trained model, on the CPU.
        tokenizer: its tokenizer.
        card: what is known of it; the date is added.
        text: real text of a few windows to compare on, at least one known character.
        path: the file to write; it appears whole or not at all.

    Raises:
        InputError: the exported graph differs from the model by more than `parity` allows (then
            nothing is written), or `path` cannot be written.
    """
    weights = {name: tensor.float().numpy() for name, tensor in model.state_dict().items()}
    graph = build_graph(model.config, weights)
    card = replace(card, created=datetime.datetime.now(datetime.UTC).date().isoformat())
    content = with_metadata(graph, model, tokenizer, card).SerializeToString()
    file = OnnxFile(path, model.config, tokenizer, card, content)
    ids = tokenizer.encode(text)
    report = compare(TorchDecoder(model), OnnxDecoder(file), tokenizer, ids)
    if not report.passed:
        raise InputError(f"the exported graph is not the model, nothing was written: {report}")
    write_atomically(path, content)
    return report


def with_metadata(
    proto: ModelProto, model: GPT, tokenizer: CharTokenizer, card: ModelCard
) -> ModelProto:
    """The graph with everything a laptop needs to know in its metadata_props."""
    # deterministic, as onnx_file hashes the bytes that it finds in the file
    graph_bytes = proto.graph.SerializeToString(deterministic=True)
    texts = to_json(model.config), tokenizer.to_json(), to_json(card)
    helper.set_model_props(
        proto,
        {
            onnx_file.FORMAT_KEY: str(onnx_file.FORMAT),
            onnx_file.CONFIG_KEY: texts[0],
            onnx_file.TOKENIZER_KEY: texts[1],
            onnx_file.CARD_KEY: texts[2],
            onnx_file.HASH_KEY: onnx_file.content_hash(graph_bytes, *texts),
        },
    )
    proto.producer_version = __version__
    return proto
