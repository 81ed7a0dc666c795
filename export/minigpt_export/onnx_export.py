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
from minigpt.runtime.generation import Decoder, generate
from minigpt.runtime.onnx_decoder import OnnxDecoder
from minigpt.runtime.onnx_file import OnnxFile
from minigpt.runtime.params import SamplingParams
from minigpt.tokenizer import CharTokenizer
from minigpt.torch_decoder import TorchDecoder
from minigpt_export.graph import build_graph
from minigpt_export.parity import ParityReport, compare


def export_onnx(model: GPT, tokenizer: CharTokenizer, card: ModelCard, path: Path) -> ParityReport:
    """Write `model` to `path`, after proving that the file says what the model says.

    Args:
        model: the trained model, on the CPU.
        tokenizer: its tokenizer.
        card: what is known of it; the date is added.
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
    reference = TorchDecoder(model)
    report = compare(reference, OnnxDecoder(file), tokenizer, own_text(reference, tokenizer))
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
    helper.set_model_props(
        proto,
        {
            onnx_file.FORMAT_KEY: str(onnx_file.FORMAT),
            onnx_file.CONFIG_KEY: to_json(model.config),
            onnx_file.TOKENIZER_KEY: tokenizer.to_json(),
            onnx_file.CARD_KEY: to_json(card),
            onnx_file.HASH_KEY: onnx_file.graph_hash(graph_bytes),
        },
    )
    proto.producer_version = __version__
    return proto


def own_text(decoder: Decoder, tokenizer: CharTokenizer) -> list[int]:
    """Some windows of text to compare on: the model's own, so that no corpus is needed.

    Drawn at temperature 1, it is as like the training text as the model can make it.
    """
    prompt = tokenizer.encode("\n") or [0]
    params = SamplingParams(temperature=1.0, top_p=1.0, max_new_tokens=4 * decoder.block_size)
    return [token.id for token in generate(decoder, tokenizer, prompt, lambda: params)]
