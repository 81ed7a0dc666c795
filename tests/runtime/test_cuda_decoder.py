"""What a GPU would compute, computed on a CPU: the same graph and the same way of binding it.

The graph's equality with PyTorch in every shape is tested with the export.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from minigpt.errors import InputError
from minigpt.runtime.batch import samples
from minigpt.runtime.cuda_decoder import CUDA, CudaDecoder
from minigpt.runtime.decoder import Decoder
from minigpt.runtime.distribution import Logits
from minigpt.runtime.evaluation import logprobs
from minigpt.runtime.generation import generate
from minigpt.runtime.library import find_model, load
from minigpt.runtime.onnx_decoder import OnnxDecoder
from minigpt.runtime.onnx_file import OnnxFile, open_onnx
from minigpt.runtime.params import SamplingParams
from minigpt.runtime.reader import CHUNK, read
from minigpt.tokenizer import CharTokenizer
from tests.conftest import CARD, SMALL

TEXT = "ROMEO:\nO, speak again, bright angel! for thou art\nAs glorious to this night"


@pytest.fixture(scope="module")
def file() -> OnnxFile:
    return open_onnx(find_model("laptop"))


@pytest.fixture
def decoder(file: OnnxFile) -> CudaDecoder:
    return CudaDecoder(file, device="cpu")


def ids_of(file: OnnxFile) -> list[int]:
    return file.tokenizer.encode(TEXT)[: file.config.block_size]


def close(a: Logits, b: Logits) -> bool:
    """As far as halves go: in an 8-bit model, what turns a rounding is a tenth in a logit."""
    return bool(np.abs(a - b).mean() < 0.03)


def test_it_thinks_of_a_text_what_the_cpu_does(file: OnnxFile, decoder: CudaDecoder) -> None:
    ids = file.tokenizer.encode(TEXT * 3)
    found = [logprobs(each, ids).mean() for each in (decoder, OnnxDecoder(file))]
    assert abs(found[0] - found[1]) < 0.005


def test_pieces_give_the_same_logits_as_the_whole(file: OnnxFile, decoder: CudaDecoder) -> None:
    ids = ids_of(file)
    whole = OnnxDecoder(file).feed(ids).copy()
    for cuts in ([len(ids)], [1] * len(ids), [5, 1, 1, 20, len(ids) - 27]):
        decoder.rewind(0)
        parts, at = [], 0
        for length in cuts:
            parts.append(decoder.feed(ids[at : at + length]).copy())
            at += length
        assert close(np.concatenate(parts), whole)
    assert decoder.position == len(ids)


def test_rewinding_forgets_and_two_do_not_meddle(file: OnnxFile, decoder: CudaDecoder) -> None:
    ids = ids_of(file)
    first = decoder.feed(ids).copy()
    decoder.rewind(10)
    decoder.feed([0, 1, 2])
    other = decoder.beside()
    assert other.position == 0
    assert close(other.feed(ids), first)
    decoder.rewind(10)
    assert close(decoder.feed(ids[10:]), first[10:])


@pytest.mark.parametrize("kind", [CudaDecoder, OnnxDecoder])
def test_a_pass_that_fails_leaves_nothing(
    file: OnnxFile, kind: Callable[..., Decoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = kind(file, device="cpu") if kind is CudaDecoder else kind(file)
    ids = ids_of(file)

    def fails(*_: object) -> None:
        raise RuntimeError("out of memory\nand where")

    with monkeypatch.context() as patched:
        patched.setattr(ort.InferenceSession, "run_with_iobinding", fails)
        with pytest.raises(InputError, match=r"out of memory$"):
            decoder.feed(ids[:20])
    assert decoder.position == 0
    decoder.rewind(0)
    assert close(decoder.feed(ids[:5]), OnnxDecoder(file).feed(ids[:5]))


@pytest.mark.parametrize("kind", [CudaDecoder, OnnxDecoder])
def test_a_slide_in_chunks_is_bound_once(
    kind: Callable[..., Decoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from minigpt_export.graph import build_graph
    from tests.models import random_gpt

    config = replace(SMALL, n_layer=1, block_size=4 * CHUNK)
    weights = {name: tensor.numpy() for name, tensor in random_gpt(config).state_dict().items()}
    content = build_graph(config, weights).SerializeToString()
    file = OnnxFile(Path("long.onnx"), config, CharTokenizer("abcde"), CARD, content)
    decoder = kind(file, device="cpu") if kind is CudaDecoder else kind(file)
    n_bound = 0
    bind = ort.InferenceSession.io_binding

    def counted(session: ort.InferenceSession) -> ort.IOBinding:
        nonlocal n_bound
        n_bound += 1
        return bind(session)

    monkeypatch.setattr(ort.InferenceSession, "io_binding", counted)
    for _ in range(2):
        read(decoder, [0] * (config.block_size // 2))
    assert decoder.n_feeds == 4
    assert n_bound == 1


def test_memory_that_is_short_is_told(file: OnnxFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*_: object) -> None:
        raise RuntimeError("Failed to allocate memory")

    monkeypatch.setattr(ort.OrtValue, "ortvalue_from_numpy", short)
    with pytest.raises(InputError, match="cannot be run on this GPU: Failed to allocate"):
        CudaDecoder(file, device="cpu")


def test_rows_side_by_side_are_as_each_alone(file: OnnxFile, decoder: CudaDecoder) -> None:
    ids = ids_of(file)

    def alone(tokens: list[int]) -> Logits:
        rows: Logits = OnnxDecoder(file).feed(ids[:20] + tokens)
        return rows[-1:]

    batch = decoder.batch(3)
    decoder.feed(ids[:20])
    for row in range(3):
        batch.begin(row)
    rows = batch.step([1, 2, 3]).copy()
    assert close(rows, np.concatenate([alone([token]) for token in (1, 2, 3)]))
    batch.reorder([2, 2, 0])
    rows = batch.step([4, 5, 6])
    assert close(rows, np.concatenate([alone(tokens) for tokens in ([3, 4], [3, 5], [1, 6])]))


def test_rows_can_change_places_as_soon_as_they_are_begun(
    file: OnnxFile, decoder: CudaDecoder
) -> None:
    ids = ids_of(file)
    batch = decoder.batch(2)
    for row in range(2):  # each goes on from another text
        decoder.rewind(0)
        decoder.feed(ids[row : row + 20])
        batch.begin(row)
    batch.reorder([1, 1])
    rows = batch.step([7, 7])
    np.testing.assert_array_equal(rows[0], rows[1])
    assert close(rows[1:], OnnxDecoder(file).feed([*ids[1:21], 7])[-1:])


def test_text_goes_on_past_the_window(file: OnnxFile, decoder: CudaDecoder) -> None:
    params = SamplingParams(max_new_tokens=2 * file.config.block_size, seed=4)
    ids = file.tokenizer.encode("ROMEO:")

    def written(source: Decoder) -> str:
        stream = generate(source, file.tokenizer, ids, lambda: params, draft=file.draft)
        return "".join(token.text for token in stream)

    assert len(written(decoder)) == params.max_new_tokens
    assert written(decoder) == written(decoder)
    assert [token.text for _, token in samples(decoder, file.tokenizer, ids, params, 2)]


def test_without_onnxruntime_for_gpus_it_says_how_to_get_it() -> None:
    if CUDA in ort.get_available_providers():
        pytest.skip("it is here")
    with pytest.raises(InputError, match='pip install "onnxruntime-gpu'):
        load(device="cuda")


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_without_a_gpu_it_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    create = ort.InferenceSession._create_inference_session

    def fails(self: ort.InferenceSession, *arguments: Any) -> None:
        monkeypatch.setattr(ort.InferenceSession, "_create_inference_session", create)
        self._fallback_providers = ["CPUExecutionProvider"]
        raise RuntimeError("CUDA failure 100")  # then it is tried anew without a GPU

    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, "CPUExecutionProvider"])
    monkeypatch.setattr(ort, "preload_dlls", lambda: sys.stdout.write("no libcudnn\n"))
    monkeypatch.setattr(ort.InferenceSession, "_create_inference_session", fails)
    with pytest.raises(InputError, match="no GPU that it can use"):
        load(device="cuda")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("no libcudnn\n")
    assert "CUDA failure 100" in said.err


def test_there_are_two_devices() -> None:
    with pytest.raises(InputError, match="cpu or cuda, not 'tpu'"):
        load(device="tpu")
