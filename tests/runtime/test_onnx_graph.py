"""The graph that the door lets in is the one that the export writes."""

from dataclasses import replace

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

from minigpt.config import _LARGEST, GPTConfig
from minigpt.runtime.onnx_graph import LARGE_VOCABULARY, PRECISIONS, Graph, Precision
from minigpt.runtime.onnx_walk import Model, Walk
from minigpt_export.graph import build_graph
from tests.conftest import SMALL
from tests.models import random_gpt

VARIATIONS: tuple[dict[str, object], ...] = (
    {},
    {"arch": "rotary", "n_head": 1, "n_layer": 1},
    {"qkv_bias": False},
    {"tie_weights": False},
    {"bias": False},
    {"vocab_size": LARGE_VOCABULARY},
    {"vocab_size": LARGE_VOCABULARY, "tie_weights": False},
    {"bias": False, "qkv_bias": False, "tie_weights": False},
    {"arch": "rotary", "n_embd": 48, "bias": False, "tie_weights": False, "n_head": 3},
)


def walked(config: GPTConfig, precision: Precision) -> Model:
    weights = {name: tensor.numpy() for name, tensor in random_gpt(config).state_dict().items()}
    model = build_graph(config, weights, precision)
    walk = Walk()
    found = walk.model(memoryview(model.SerializeToString()))
    walk.graph(found.graph)
    return found


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("change", VARIATIONS)
def test_it_is_what_is_exported(change: dict[str, object], precision: Precision) -> None:
    config: GPTConfig = replace(SMALL, **change)  # type: ignore[arg-type]
    found, expected = walked(config, precision), Graph(config, precision)
    assert found.nodes == expected.nodes
    assert found.weights == expected.weights


def test_the_deepest_model_is_let_in() -> None:
    config = replace(SMALL, arch="rotary", n_layer=_LARGEST["n_layer"], n_head=1, tie_weights=False)
    assert len(walked(config, "int4").nodes) > 8 * config.n_layer
