"""What comes from a stranger is checked before onnxruntime sees it."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from minigpt.errors import InputError
from minigpt.runtime.library import find_model, list_models, load, shipped_model
from minigpt.runtime.onnx_file import FORMAT_KEY, HASH_KEY, graph_hash, open_onnx


def test_the_shipped_model_opens() -> None:
    file = open_onnx(shipped_model())
    assert file.config.vocab_size == file.tokenizer.vocab_size == 65
    assert file.card.corpus_sha256.startswith("86c4e6aa")
    assert file.card.val_loss < 1.66
    assert file.card.created


def test_names_are_found() -> None:
    assert find_model(None) == shipped_model()
    assert find_model("shakespeare") in list_models()
    assert find_model(str(shipped_model())) == shipped_model()
    with pytest.raises(InputError, match="shakespeare"):
        find_model("no-such-model")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a complete"),
        (b"hello, I am not a model", "not a complete"),
        (b"\x80" * 100, "not a complete"),
        (b"\x08\x0a\x3a\x00", "not made by minigpt"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        open_onnx(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        open_onnx(tmp_path / "no.onnx")
    with pytest.raises(InputError, match="is a folder"):
        open_onnx(tmp_path)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    content = shipped_model().read_bytes()
    path = tmp_path / "x.onnx"
    for length in random.Random(0).sample(range(len(content)), 40):
        path.write_bytes(content[:length])
        with pytest.raises(InputError):
            open_onnx(path)


def test_random_damage_never_ends_in_anything_but_a_sentence(tmp_path: Path) -> None:
    content = shipped_model().read_bytes()
    rng = random.Random(1)
    path = tmp_path / "x.onnx"
    refused = 0
    for _ in range(150):
        damaged = bytearray(content)
        # half of the hits go where the structure is: metadata at the end, nodes at the beginning
        spans = (len(damaged), 20_000)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(spans[rng.random() < 0.5])
            damaged[at if rng.random() < 0.5 else -at - 1] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            load(path)
        except InputError:
            refused += 1
    # only damage to what no check covers (the producer's name, the card's wording) may pass
    assert refused > 130


Mutation = Callable[[object], None]


def hostile(small_onnx: Path, tmp_path: Path, mutate: Callable[[object], None]) -> Path:
    """The small model with one thing changed, and a checksum that is right again."""
    onnx = pytest.importorskip("onnx")
    proto = onnx.load(str(small_onnx))
    mutate(proto)
    for entry in proto.metadata_props:
        if entry.key == HASH_KEY:
            entry.value = graph_hash(proto.graph.SerializeToString(deterministic=True))
    path = tmp_path / "hostile.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def external(proto: object) -> None:
    onnx = pytest.importorskip("onnx")
    tensor = proto.graph.initializer[0]  # type: ignore[attr-defined]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def external_in_an_attribute(proto: object) -> None:
    onnx = pytest.importorskip("onnx")
    tensor = onnx.TensorProto(data_location=onnx.TensorProto.EXTERNAL)
    node = onnx.helper.make_node("Constant", [], ["c"], value=tensor)
    proto.graph.node.append(node)  # type: ignore[attr-defined]


def sparse(proto: object) -> None:
    proto.graph.sparse_initializer.add()  # type: ignore[attr-defined]


def foreign_domain(proto: object) -> None:
    proto.graph.node[0].domain = "evil.ops"  # type: ignore[attr-defined]


def foreign_opset(proto: object) -> None:
    proto.opset_import.add(domain="evil.ops", version=1)  # type: ignore[attr-defined]


def function(proto: object) -> None:
    proto.functions.add(name="f", domain="")  # type: ignore[attr-defined]


def doubled_metadata(proto: object) -> None:
    proto.metadata_props.add(key=FORMAT_KEY, value="1")  # type: ignore[attr-defined]


def set_metadata(key: str, value: str) -> Callable[[object], None]:
    def mutate(proto: object) -> None:
        for entry in proto.metadata_props:  # type: ignore[attr-defined]
            if entry.key == key:
                entry.value = value

    return mutate


@pytest.mark.parametrize(
    ("mutate", "words"),
    [
        (external, "another file"),
        (external_in_an_attribute, "a tensor or a graph"),
        (sparse, "sparse"),
        (foreign_domain, "unknown operators"),
        (foreign_opset, "unknown operators"),
        (function, "functions"),
        (doubled_metadata, "twice"),
        (set_metadata(FORMAT_KEY, "2"), "install a newer minigpt"),
        (set_metadata("minigpt.config", '{"n_layer": -1}'), "missing"),
        (set_metadata("minigpt.tokenizer", "{}"), "tokenizer"),
        (set_metadata("minigpt.card", "[]"), "damaged"),
    ],
)
def test_hostile_files_are_refused(
    small_onnx: Path, tmp_path: Path, mutate: Callable[[object], None], words: str
) -> None:
    path = hostile(small_onnx, tmp_path, mutate)
    began = time.perf_counter()
    with pytest.raises(InputError, match=words):
        open_onnx(path)
    assert time.perf_counter() - began < 1


def test_an_untouched_file_passes_the_same_way(small_onnx: Path, tmp_path: Path) -> None:
    assert open_onnx(hostile(small_onnx, tmp_path, lambda _: None)).tokenizer.chars == "abcde"


def test_a_changed_weight_is_found(small_onnx: Path, tmp_path: Path) -> None:
    content = bytearray(small_onnx.read_bytes())
    content[len(content) // 2] ^= 1
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match="checksum"):
        open_onnx(path)


def test_a_graph_that_onnxruntime_refuses_is_one_sentence(small_onnx: Path, tmp_path: Path) -> None:
    def break_graph(proto: object) -> None:
        proto.graph.node[0].op_type = "NoSuchOperator"  # type: ignore[attr-defined]

    with pytest.raises(InputError, match="onnxruntime cannot read"):
        load(hostile(small_onnx, tmp_path, break_graph))
