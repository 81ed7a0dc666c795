"""What comes from a stranger is checked before onnxruntime sees it."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from minigpt.errors import InputError
from minigpt.runtime.generation import generate
from minigpt.runtime.library import find_model, list_models, load, shipped_model
from minigpt.runtime.onnx_file import (
    CARD_KEY,
    CONFIG_KEY,
    FORMAT_KEY,
    HASH_KEY,
    TEXT_KEYS,
    TOKENIZER_KEY,
    check_onnx,
    content_hash,
    open_onnx,
)
from minigpt.runtime.params import SamplingParams


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
    # what passes hit the few bytes that mean nothing: the producer's name, the documentation
    assert refused > 140


def mutated(content: bytes, rng: random.Random) -> bytes:
    """One to three accidents: flipped bits, bytes lost, doubled, swapped, overwritten, cut off."""
    out = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(out))
        to = min(len(out), at + rng.choice((1, 2, 4, 16, 200)))
        match rng.randrange(7):
            case 0:
                out[at] ^= 1 << rng.randrange(8)
            case 1:
                del out[at:to]
            case 2:
                out[at:at] = out[at:to]
            case 3:
                other = rng.randrange(len(out))
                out[at:to] = out[other : other + to - at]
            case 4:
                out[at:to] = rng.randbytes(to - at)
            case 5:
                out[at:at] = rng.choice((b"\xff" * 10, b"\x00", b"\x7f\xff", b"\x3a\x00"))
            case _:
                del out[at:]
        out = out or bytearray(b"\0")
    return bytes(out)


def fuzz(content: bytes, n: int, seed: int) -> int:
    """How many of n mutations were refused, each with one sentence and nothing else."""
    rng = random.Random(seed)
    refused = 0
    for _ in range(n):
        try:
            check_onnx(Path("x.onnx"), mutated(content, rng))
        except InputError as error:
            refused += len(str(error).splitlines())
    return refused


def test_20_000_mutations_end_in_a_sentence(small_onnx: Path) -> None:
    # those that pass have hit a byte that says nothing, such as the producer's name
    assert 19_700 < fuzz(small_onnx.read_bytes(), 20_000, seed=0) <= 20_000


@pytest.mark.slow
def test_a_million_mutations_end_in_a_sentence(small_onnx: Path) -> None:
    assert 985_000 < fuzz(small_onnx.read_bytes(), 1_000_000, seed=1) <= 1_000_000


def run_hostile_graphs(model: Path, how_many: int, seed: int) -> dict[str, int]:
    command = [sys.executable, "-m", "tests.runtime.hostile_graphs"]
    done = subprocess.run(
        [*command, str(model), str(how_many), str(seed)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]  # negative: a native crash
    ended: dict[str, int] = json.loads(done.stdout)
    return ended


def test_600_wrong_graphs_with_a_right_checksum_crash_nothing(small_onnx: Path) -> None:
    ended = run_hostile_graphs(small_onnx, 600, seed=0)
    assert ended["refused"] > 400
    assert sum(ended.values()) == 600


@pytest.mark.slow
def test_50_000_wrong_graphs_crash_nothing(small_onnx: Path) -> None:
    assert sum(run_hostile_graphs(small_onnx, 50_000, seed=1).values()) == 50_000


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
        *(
            (attribute_with(field), "a tensor or a graph")
            for field in ("t", "g", "sparse_tensor", "tensors", "graphs", "sparse_tensors")
        ),
        (sparse, "sparse"),
        (nameless_input, "last input has no name"),
        (training_graph, "training graphs"),
        (much_metadata, "bytes of metadata"),
        (operator("If"), "an operator that no model here does: .'If'."),
        (operator("ConstantOfShape"), "an operator that no model"),
        (foreign_domain, "unknown operators"),
        (foreign_opset, "unknown operators"),
        (function, "functions"),
        (doubled_metadata, "twice"),
        (set_metadata(FORMAT_KEY, "1"), "older minigpt .* export its checkpoint again"),
        (set_metadata(FORMAT_KEY, "3"), "install a newer minigpt"),
        (set_metadata(CONFIG_KEY, '{"n_layer": -1}'), "other fields"),
        (set_metadata(TOKENIZER_KEY, "{}"), "tokenizer"),
        (set_metadata(CARD_KEY, "[]"), "damaged"),
    ],
)
def test_hostile_files_are_refused(
    small_onnx: Path, tmp_path: Path, mutate: Callable[[object], None], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        open_onnx(hostile(small_onnx, tmp_path, mutate))


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
    with pytest.raises(InputError, match="onnxruntime cannot read"):
        load(hostile(small_onnx, tmp_path, operator("MatMul")))


def set_config(**changes: int | str) -> Callable[[object], None]:
    def mutate(proto: object) -> None:
        for entry in proto.metadata_props:  # type: ignore[attr-defined]
            if entry.key == CONFIG_KEY:
                entry.value = json.dumps(json.loads(entry.value) | changes)

    return mutate


@pytest.mark.parametrize(
    "changes",
    [{"n_layer": 1}, {"n_layer": 3}, {"n_head": 1}, {"n_embd": 32}, {"block_size": 10**13},
     {"n_layer": 10**9}, {"vocab_size": 2}],
)  # fmt: skip
def test_a_config_that_is_not_the_graph_s_is_refused(
    small_onnx: Path, tmp_path: Path, changes: dict[str, int | str]
) -> None:
    with pytest.raises(InputError):
        load(hostile(small_onnx, tmp_path, set_config(**changes)))


def test_a_window_that_the_graph_has_not_ends_in_a_sentence(
    small_onnx: Path, tmp_path: Path
) -> None:
    model = load(hostile(small_onnx, tmp_path, set_config(block_size=64)))
    with pytest.raises(InputError, match="is damaged"):
        model.decoder.feed([0] * 40)


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


def test_no_file_is_walked_for_ever(small_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_onnx(small_onnx)
    monkeypatch.setattr("minigpt.runtime.onnx_file.MAX_FIELDS", 100)
    with pytest.raises(InputError, match="not a complete"):
        open_onnx(small_onnx)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no named pipes here")
    os.mkfifo(tmp_path / "x.onnx")
    with pytest.raises(InputError, match="not a regular file"):
        open_onnx(tmp_path / "x.onnx")


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
