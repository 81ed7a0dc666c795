"""What comes from a stranger is checked before onnxruntime sees it."""

import io
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minigpt.errors import InputError
from minigpt.files import open_regular
from minigpt.runtime import onnx_file
from minigpt.runtime.generation import generate
from minigpt.runtime.library import find_model, list_models, load, shipped_model
from minigpt.runtime.onnx_decoder import OnnxDecoder
from minigpt.runtime.onnx_file import (
    CARD_KEY,
    CONFIG_KEY,
    FORMAT_KEY,
    HASH_KEY,
    PARITY_KEY,
    TEXT_KEYS,
    TOKENIZER_KEY,
    content_hash,
    open_onnx,
)
from minigpt.runtime.params import SamplingParams
from minigpt.tokenizer import CharTokenizer
from tests.conftest import CARD, SMALL, SMALL_DRAFT
from tests.runtime.fuzz_door import varint


def test_the_shipped_model_opens() -> None:
    file = open_onnx(shipped_model())
    assert file.config.vocab_size == file.tokenizer.vocab_size == 65
    assert file.card.corpus_sha256.startswith("86c4e6aa")
    assert file.card.val_loss < 1.66
    assert file.card.created


def test_names_are_found() -> None:
    assert find_model(None) == shipped_model()
    assert find_model("shakespeare") == list_models()[0] == shipped_model()
    assert find_model("laptop") in list_models()
    assert find_model(str(shipped_model())) == shipped_model()
    with pytest.raises(InputError, match="shakespeare"):
        find_model("no-such-model")


def test_a_folder_hides_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    laptop = find_model("laptop").absolute()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "laptop").mkdir()
    (tmp_path / "book").mkdir()
    assert find_model("laptop") == laptop
    assert find_model("book") == Path("book")
    (tmp_path / "laptop" / "best.safetensors").touch()  # now it is a run's
    assert find_model("laptop") == Path("laptop")


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
    content = find_model("laptop").read_bytes()
    path = tmp_path / "x.onnx"
    for length in random.Random(0).sample(range(len(content)), 40):
        path.write_bytes(content[:length])
        with pytest.raises(InputError):
            open_onnx(path)


def test_random_damage_never_ends_in_anything_but_a_sentence(tmp_path: Path) -> None:
    content = find_model("laptop").read_bytes()
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
    # what passes hit the few bytes that mean nothing: the producer's name, the documentation
    assert refused > 140


def run_child(module: str, model: Path, how_many: int, seed: int) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        f"tests.runtime.{module}",
        str(model),
        str(how_many),
        str(seed),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]  # negative: a native crash
    said: dict[str, Any] = json.loads(done.stdout)
    return said


@pytest.fixture(scope="module")
def smallest_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that a file has, and few weights: most mutations hit something that is looked at."""
    pytest.importorskip("torch")
    from minigpt_export.onnx_export import export_onnx
    from tests.models import random_gpt

    path = tmp_path_factory.mktemp("models") / "smallest.onnx"
    config = replace(SMALL, n_layer=1, n_head=1, n_embd=8, block_size=8)
    export_onnx(
        random_gpt(config), CharTokenizer("abcde"), CARD, "abcdecab" * 8, path, draft=SMALL_DRAFT
    )
    return path


def test_20_000_mutations_end_in_a_sentence_and_open_nothing(smallest_onnx: Path) -> None:
    said = run_child("fuzz_door", smallest_onnx, 20_000, seed=0)
    assert said["opened"] == []
    assert not said["onnxruntime"]
    # those that pass have hit a byte that says nothing, such as the producer's name
    assert 14_900 < said["damaged"] <= 15_000
    # with the checksum mended, changed weights pass: they are numbers like others
    assert 4_000 < said["sealed"] <= 5_000


@pytest.mark.slow
def test_a_million_mutations_end_in_a_sentence_and_open_nothing(smallest_onnx: Path) -> None:
    said = run_child("fuzz_door", smallest_onnx, 1_000_000, seed=1)
    assert said["opened"] == []
    assert 745_000 < said["damaged"] <= 750_000


def test_600_wrong_graphs_with_a_right_checksum_crash_nothing(small_onnx: Path) -> None:
    ended = run_child("hostile_graphs", small_onnx, 600, seed=0)
    assert ended["refused"] > 400
    assert ended["ran"] > 20
    assert sum(ended.values()) == 600


@pytest.mark.slow
def test_50_000_wrong_graphs_crash_nothing(small_onnx: Path) -> None:
    assert sum(run_child("hostile_graphs", small_onnx, 50_000, seed=1).values()) == 50_000


def hostile(small_onnx: Path, tmp_path: Path, mutate: Callable[[object], None]) -> Path:
    """The small model with one thing changed, and a checksum that is right again."""
    onnx = pytest.importorskip("onnx")
    proto = onnx.load(str(small_onnx))
    mutate(proto)
    texts = {entry.key: entry.value for entry in proto.metadata_props}
    graph = proto.graph.SerializeToString(deterministic=True)
    for entry in proto.metadata_props:
        if entry.key == HASH_KEY:
            said = (texts[key] for key in TEXT_KEYS)
            entry.value = content_hash(graph, *said)
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


def attribute_with(field: str) -> Callable[[object], None]:
    """A node's attribute that nests a structure."""

    def mutate(proto: object) -> None:
        attribute = proto.graph.node[0].attribute.add(name="x")  # type: ignore[attr-defined]
        value = getattr(attribute, field)
        if hasattr(value, "add"):
            value.add()
        else:
            value.SetInParent()

    return mutate


def nameless_input(proto: object) -> None:
    proto.graph.node[-1].input.append("")  # type: ignore[attr-defined]


def training_graph(proto: object) -> None:
    proto.training_info.add()  # type: ignore[attr-defined]


def much_metadata(proto: object) -> None:
    proto.metadata_props.add(key="x", value="x" * 2**24)  # type: ignore[attr-defined]


def operator(kind: str) -> Callable[[object], None]:
    def mutate(proto: object) -> None:
        proto.graph.node[0].op_type = kind  # type: ignore[attr-defined]

    return mutate


def product_of_weights(proto: object) -> None:
    """Two small arrays whose product, which onnxruntime would compute as it loads, has 16 GB."""
    onnx = pytest.importorskip("onnx")
    graph = proto.graph  # type: ignore[attr-defined]
    for name, dims in (("tall", (2**16, 1)), ("wide", (1, 2**16))):
        graph.initializer.append(onnx.numpy_helper.from_array(np.ones(dims, np.float32), name))
    graph.node.append(onnx.helper.make_node("MatMul", ["tall", "wide"], ["huge"]))


def tensor_called(proto: object, name: str) -> Any:
    weights = proto.graph.initializer  # type: ignore[attr-defined]
    return next(tensor for tensor in weights if tensor.name == name)


def other_numbers(name: str) -> Callable[[object], None]:
    def mutate(proto: object) -> None:
        tensor = tensor_called(proto, name)
        tensor.raw_data = b"\x80" + tensor.raw_data[1:]

    return mutate


def shape(name: str, *dims: int) -> Callable[[object], None]:
    def mutate(proto: object) -> None:
        tensor_called(proto, name).dims[:] = dims

    return mutate


def typed_numbers(proto: object) -> None:
    tensor = tensor_called(proto, "ln_f.weight")
    tensor.float_data[:] = [1.0] * 16
    tensor.ClearField("raw_data")


def strings(proto: object) -> None:
    """onnxruntime would make as many strings as it says there are, 32 bytes each."""
    onnx = pytest.importorskip("onnx")
    tensor = tensor_called(proto, "wte.weight")
    tensor.data_type = onnx.TensorProto.STRING
    tensor.dims[:] = [2**40]


def doubled_weight(proto: object) -> None:
    proto.graph.initializer.append(tensor_called(proto, "ln_f.weight"))  # type: ignore[attr-defined]


def graph_part(field: str) -> Callable[[object], None]:
    def mutate(proto: object) -> None:
        getattr(proto.graph, field).add()  # type: ignore[attr-defined]

    return mutate


def node_part(field: str) -> Callable[[object], None]:
    def mutate(proto: object) -> None:
        getattr(proto.graph.node[0], field).add()  # type: ignore[attr-defined]

    return mutate


def attribute(**fields: object) -> Callable[[object], None]:
    def mutate(proto: object) -> None:
        proto.graph.node[0].attribute.add(name="x", **fields)  # type: ignore[attr-defined]

    return mutate


def device_configuration(proto: object) -> None:
    proto.configuration.add(name="x")  # type: ignore[attr-defined]


def sparse(proto: object) -> None:
    proto.graph.sparse_initializer.add()  # type: ignore[attr-defined]


def endless_shape(proto: object) -> None:
    """Two bytes a dimension, of which onnxruntime would make 540."""
    proto.graph.input[0].type.tensor_type.shape.dim.extend(  # type: ignore[attr-defined]
        [type(proto.graph.input[0].type.tensor_type.shape.dim[0])()] * 70_000  # type: ignore[attr-defined]
    )


def long_name(proto: object) -> None:
    """Names of 64 KB in 100,000 nodes would be kept until the graph is compared."""
    proto.graph.node[0].input[0] = "x" * 257  # type: ignore[attr-defined]


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


def older(proto: object) -> None:
    """As of format 1, whose graphs have an operator that is not allowed any more."""
    operator("Squeeze")(proto)
    set_metadata(FORMAT_KEY, "1")(proto)


@pytest.mark.parametrize(
    ("mutate", "words"),
    [
        (external, "another file"),
        (external_in_an_attribute, "a tensor or a graph"),
        *(
            (attribute_with(field), "a tensor or a graph")
            for field in ("t", "g", "sparse_tensor", "tensors", "graphs", "sparse_tensors")
        ),
        (sparse, "sparse"),
        (endless_shape, "larger inputs and outputs"),
        (nameless_input, "its graph is not the one"),
        (product_of_weights, "its graph is not the one"),
        (other_numbers("one"), "its weights are not those"),
        (shape("wte.weight", 2**40), "its weights are not those"),
        (shape("wte.weight", -1), "its weights are not those"),
        (shape("wte.weight", 2**62, 4), "its weights are not those"),
        (typed_numbers, "in a form that minigpt export does not write"),
        (strings, "its weights are not those"),
        (doubled_weight, "two weights called"),
        (graph_part("value_info"), "its graph has parts"),
        (graph_part("quantization_annotation"), "its graph has parts"),
        (graph_part("metadata_props"), "its graph has parts"),
        (node_part("metadata_props"), "an operator has parts"),
        (node_part("device_configurations"), "an operator has parts"),
        (attribute(s=b"/etc/passwd", type=3), "attribute is of a kind"),
        (attribute(ref_attr_name="y", type=2), "attribute is of a kind"),
        (device_configuration, "not a complete"),
        (training_graph, "training graphs"),
        (much_metadata, "bytes of metadata"),
        (operator("BiasGelu"), "an operator that no model here does: 'BiasGelu'"),
        (operator("If"), "its graph is not the one"),
        (operator("ConstantOfShape"), "its graph is not the one"),
        (long_name, "not a complete"),
        (foreign_domain, "unknown operators"),
        (foreign_opset, "unknown operators"),
        (function, "functions"),
        (doubled_metadata, "twice"),
        (older, "older minigpt .* export its checkpoint again"),
        (set_metadata(FORMAT_KEY, "3"), "install a newer minigpt"),
        (set_metadata(CONFIG_KEY, '{"n_layer": -1}'), "other fields"),
        (set_metadata(CONFIG_KEY, '{"n_layer": 1}' + " " * 2**16), "more than 65536 characters"),
        (set_metadata(CARD_KEY, "[" * 60_000), "not valid JSON"),
        (set_metadata(PARITY_KEY, "not JSON"), "parity report is not a JSON object"),
        (set_metadata(PARITY_KEY, "[" * 60_000), "parity report is not a JSON object"),
        (set_metadata(PARITY_KEY, '{"loss": NaN}'), "parity report is not a JSON object"),
        (set_metadata(PARITY_KEY, "[]"), "parity report is not a JSON object"),
        (set_metadata(TOKENIZER_KEY, "{}"), "tokenizer"),
        (set_metadata(TOKENIZER_KEY, "[" * 10**6), "tokenizer"),
        (set_metadata(TOKENIZER_KEY, "9" * 10**6), "tokenizer"),
        (set_metadata(CARD_KEY, "[]"), "damaged"),
    ],
)
def test_hostile_files_are_refused(
    small_onnx: Path, tmp_path: Path, mutate: Callable[[object], None], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        open_onnx(hostile(small_onnx, tmp_path, mutate))


def points_to(location: str, *, flag: bool = True) -> Any:
    """A tensor that says its numbers are in another file."""
    onnx = pytest.importorskip("onnx")
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[4])
    if flag:
        tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def as_weight(tensor: Any) -> Callable[[object], None]:
    return lambda proto: proto.graph.initializer.append(tensor)  # type: ignore[attr-defined]


def as_sparse_weight(tensor: Any) -> Callable[[object], None]:
    def mutate(proto: object) -> None:
        proto.graph.sparse_initializer.add().values.CopyFrom(tensor)  # type: ignore[attr-defined]

    return mutate


def in_attribute(field: str, tensor: Any) -> Callable[[object], None]:
    def mutate(proto: object) -> None:
        attribute = proto.graph.node[0].attribute.add(name="x")  # type: ignore[attr-defined]
        match field:
            case "tensors":
                attribute.tensors.append(tensor)
            case "g":
                attribute.g.initializer.append(tensor)
            case "sparse_tensor":
                attribute.sparse_tensor.values.CopyFrom(tensor)
            case _:
                attribute.t.CopyFrom(tensor)

    return mutate


def in_function(tensor: Any) -> Callable[[object], None]:
    def mutate(proto: object) -> None:
        node = proto.functions.add(name="f").node.add()  # type: ignore[attr-defined]
        node.attribute.add(name="x").t.CopyFrom(tensor)

    return mutate


def in_training(tensor: Any) -> Callable[[object], None]:
    def mutate(proto: object) -> None:
        graph = proto.training_info.add().initialization  # type: ignore[attr-defined]
        graph.initializer.append(tensor)

    return mutate


@pytest.fixture
def disguises(small_onnx: Path, tmp_path: Path) -> dict[str, Path]:
    """Model files that ask for another file, which exists, in every way there is."""
    canary = tmp_path / "canary.bin"
    canary.write_bytes(bytes(16))
    (tmp_path / "models").mkdir()
    beside = tmp_path / "models" / "beside.bin"
    beside.write_bytes(bytes(16))
    locations = {
        "beside": "beside.bin",
        "above": "../canary.bin",
        "absolute": str(canary),
        "url": canary.as_uri(),
        "address": "*/_ORT_MEM_ADDR_/*",  # onnxruntime's own mark of a place in memory
    }
    with suppress(OSError):  # Windows gives links to administrators only
        (tmp_path / "models" / "link.bin").symlink_to(canary)
        (tmp_path / "models" / "hard.bin").hardlink_to(canary)
        locations |= {"symlink": "link.bin", "hardlink": "hard.bin"}
    mutations = {name: as_weight(points_to(where)) for name, where in locations.items()}
    tensor = points_to(str(canary))
    mutations |= {
        "unflagged": as_weight(points_to(str(canary), flag=False)),
        "sparse": as_sparse_weight(tensor),
        "function": in_function(tensor),
        "training": in_training(tensor),
    }
    mutations |= {f: in_attribute(f, tensor) for f in ("t", "tensors", "g", "sparse_tensor")}
    files = {}
    for name, mutate in mutations.items():
        files[name] = tmp_path / "models" / f"{name}.onnx"
        hostile(small_onnx, tmp_path, mutate).rename(files[name])
    return files


def run_watched(reader: str, *files: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.runtime.watched", reader, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_a_refused_file_opens_no_other(small_onnx: Path, disguises: dict[str, Path]) -> None:
    said = run_watched("door", small_onnx, *disguises.values())
    for path, found in zip(disguises.values(), said["files"], strict=True):
        assert found["sentence"].startswith(str(path))
        assert found["opened"] == [f"open {path}"]
    assert not said["onnxruntime"]


def test_another_reader_would_open_the_other_file(
    small_onnx: Path, disguises: dict[str, Path]
) -> None:
    """So the files do ask for it, and the hook does see it."""
    said = run_watched("onnx", small_onnx, disguises["beside"])
    assert len(said["files"][0]["opened"]) > 1


def test_onnxruntime_is_not_given_a_refused_file(
    disguises: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxruntime.InferenceSession", None)
    for path in disguises.values():
        with pytest.raises(InputError):
            load(path)


def test_an_untouched_file_passes_the_same_way(small_onnx: Path, tmp_path: Path) -> None:
    assert open_onnx(hostile(small_onnx, tmp_path, lambda _: None)).tokenizer.chars == "abcde"


def test_a_changed_weight_is_found(small_onnx: Path, tmp_path: Path) -> None:
    content = bytearray(small_onnx.read_bytes())
    content[len(content) // 2] ^= 1
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match="checksum"):
        open_onnx(path)


def test_what_onnxruntime_refuses_after_all_is_one_sentence(small_onnx: Path) -> None:
    file = replace(open_onnx(small_onnx), content=b"not checked")
    with pytest.raises(InputError, match="onnxruntime cannot read"):
        OnnxDecoder(file)


def set_config(**changes: int | str) -> Callable[[object], None]:
    def mutate(proto: object) -> None:
        for entry in proto.metadata_props:  # type: ignore[attr-defined]
            if entry.key == CONFIG_KEY:
                entry.value = json.dumps(json.loads(entry.value) | changes)

    return mutate


@pytest.mark.parametrize(
    "changes",
    [{"n_layer": 1}, {"n_layer": 3}, {"n_head": 1}, {"n_embd": 32}, {"block_size": 64},
     {"block_size": 10**13}, {"n_layer": 10**9}, {"vocab_size": 2}, {"dropout": 10**400},
     {"bias": False}, {"qkv_bias": False}, {"tie_weights": False}, {"arch": "rotary"}],
)  # fmt: skip
def test_a_config_that_is_not_the_graph_s_is_refused(
    small_onnx: Path, tmp_path: Path, changes: dict[str, int | str]
) -> None:
    with pytest.raises(InputError):
        open_onnx(hostile(small_onnx, tmp_path, set_config(**changes)))


def test_a_window_that_the_graph_has_not_ends_in_a_sentence(small_onnx: Path) -> None:
    file = open_onnx(small_onnx)
    wider = OnnxDecoder(replace(file, config=replace(file.config, block_size=64)))
    with pytest.raises(InputError, match="is damaged"):
        wider.feed([0] * 40)


def test_a_giant_cache_is_not_allocated(small_onnx: Path, tmp_path: Path) -> None:
    """A window of 2**20 tokens in 300 layers: 40 GB, from a file that could be 24 MB."""
    giant = set_config(n_layer=300, block_size=2**20, arch="rotary", n_head=1)
    with pytest.raises(InputError, match=r"a window of 1048576 tokens .* bytes of memory"):
        open_onnx(hostile(small_onnx, tmp_path, giant))


def test_weights_that_are_no_numbers_end_in_a_sentence(small_onnx: Path, tmp_path: Path) -> None:
    def poison(proto: object) -> None:
        for tensor in proto.graph.initializer:  # type: ignore[attr-defined]
            if tensor.name == "ln_f.weight":
                tensor.raw_data = b"\xff" * len(tensor.raw_data)

    model = load(hostile(small_onnx, tmp_path, poison))
    with pytest.raises(InputError, match="NaN"):
        list(generate(model.decoder, model.tokenizer, [0], SamplingParams))


def test_a_second_graph_cannot_hide_behind_a_long_tag(small_onnx: Path, tmp_path: Path) -> None:
    """Protobuf readers drop the bits of a tag above 32; this one must not see another field."""
    path = tmp_path / "x.onnx"
    tag = (7 << 3 | 2) | 1 << 32
    path.write_bytes(small_onnx.read_bytes() + varint(tag) + varint(2) + b"\x12\x00")
    with pytest.raises(InputError, match="not a complete"):
        open_onnx(path)


def test_a_file_that_onnxruntime_takes_for_another_format_is_refused(
    small_onnx: Path, tmp_path: Path
) -> None:
    path = tmp_path / "x.onnx"
    # an unknown field in front puts "ORTM", the mark of that format, at bytes 4 to 8
    field = varint(1000 << 3 | 2) + varint(6) + b"\0ORTM\0"
    path.write_bytes(field + small_onnx.read_bytes())
    assert path.read_bytes()[4:8] == b"ORTM"
    with pytest.raises(InputError, match="not a complete"):
        open_onnx(path)


def test_the_weights_of_a_large_file_are_not_read_before_the_rest_is_right(
    small_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a refusal costs must not grow with the file; bytes are counted, as clocks vary."""
    n_read = 0

    @contextmanager
    def counting(*arguments: Any) -> Iterator[Any]:
        with open_regular(*arguments) as file:

            class Counting(io.BufferedReader):
                def read(self, size: int | None = -1, /) -> bytes:
                    nonlocal n_read
                    found = super().read(size)
                    n_read += len(found)
                    return found

            yield Counting(file.raw)  # type: ignore[attr-defined]

    monkeypatch.setattr("minigpt.runtime.onnx_file.open_regular", counting)
    assert onnx_file.UNREAD_FROM_BYTES < 2**26
    content = small_onnx.read_bytes()
    path = tmp_path / "x.onnx"
    # a raw_data of 64 MB more: nothing on the disk, and far from what the config says
    hole = b"\x2a" + varint(2**26 + 5) + b"\x4a" + varint(2**26)
    key, value = FORMAT_KEY.encode(), str(onnx_file.FORMAT).encode()
    entry = b"\x0a" + varint(len(key)) + key + b"\x12" + varint(len(value)) + value
    with path.open("wb") as file:
        file.write(b"\x3a" + varint(len(hole) + 2**26) + hole)
        file.seek(2**26, os.SEEK_CUR)
        file.write(b"\x72" + varint(len(entry)) + entry)
    with pytest.raises(InputError, match="not write"):
        open_onnx(path)
    assert n_read < 1000

    monkeypatch.setattr("minigpt.runtime.onnx_file.UNREAD_FROM_BYTES", 0)
    with pytest.raises(InputError, match="not the one"):
        open_onnx(hostile(small_onnx, tmp_path, nameless_input))
    assert n_read < len(content) / 2
    assert open_onnx(small_onnx).content == content  # and what is right is read whole


def test_no_file_is_walked_for_ever(small_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_onnx(small_onnx)
    monkeypatch.setattr("minigpt.runtime.onnx_walk.MAX_FIELDS", 100)
    with pytest.raises(InputError, match="not a complete"):
        open_onnx(small_onnx)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no named pipes here")
    os.mkfifo(tmp_path / "x.onnx")
    with pytest.raises(InputError, match="not a regular file"):
        open_onnx(tmp_path / "x.onnx")
