"""The decoder on a real model; its equality with PyTorch is tested with the export."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minigpt.runtime.draft import Draft
from minigpt.runtime.generation import generate
from minigpt.runtime.library import load
from minigpt.runtime.model import Model
from minigpt.runtime.params import SamplingParams


@pytest.fixture(scope="module")
def model() -> Model:
    return load("laptop")


def ids_of(model: Model) -> list[int]:
    text = "ROMEO:\nO, speak again, bright angel! for thou art\nAs glorious to this night"
    return model.tokenizer.encode(text)[: model.config.block_size]


def test_pieces_give_the_same_logits_as_the_whole(model: Model) -> None:
    decoder, ids = model.decoder, ids_of(model)
    decoder.rewind(0)
    whole = decoder.feed(ids).copy()
    for cuts in ([1] * len(ids), [5, 1, 1, 20, len(ids) - 27], [len(ids) - 1, 1]):
        decoder.rewind(0)
        parts, at = [], 0
        for length in cuts:
            parts.append(decoder.feed(ids[at : at + length]).copy())
            at += length
        np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-5)


def test_two_side_by_side_do_not_meddle(model: Model) -> None:
    decoder, ids = model.decoder, ids_of(model)
    decoder.rewind(0)
    whole = decoder.feed(ids).copy()
    decoder.rewind(9)
    other = decoder.beside()
    assert other.position == 0
    np.testing.assert_array_equal(other.feed(ids), whole)
    other.rewind(3)
    np.testing.assert_allclose(decoder.feed(ids[9:20]), whole[9:20], atol=1e-5)
    assert (decoder.position, other.position) == (20, 3)


def test_rewinding_forgets(model: Model) -> None:
    decoder, ids = model.decoder, ids_of(model)
    decoder.rewind(0)
    first = decoder.feed(ids).copy()
    decoder.rewind(10)
    assert decoder.position == 10
    decoder.feed([0, 1, 2])
    decoder.rewind(10)
    np.testing.assert_allclose(decoder.feed(ids[10:]), first[10:], atol=1e-5)


@pytest.mark.parametrize(
    "values",
    [{"temperature": 0.0}, {}, {"temperature": 1.2, "top_p": 1.0, "repetition_penalty": 1.1},
     {"mirostat": 2.0}],
)  # fmt: skip
def test_guesses_change_not_a_letter(model: Model, values: dict[str, float]) -> None:
    length = 4 * model.config.block_size
    params = SamplingParams(max_new_tokens=length, **values)  # type: ignore[arg-type]
    texts = [
        "".join(
            token.text
            for token in generate(
                model.decoder, model.tokenizer, ids_of(model)[:20], lambda: params, draft=draft
            )
        )
        for draft in (Draft.idle(), model.draft, Draft({}), Draft({}))
    ]
    assert len(texts[0]) == length
    assert len(set(texts)) == 1
    assert model.decoder.steady_from in (1, 2)  # else nothing was guessed, and nothing shown


def test_rows_are_steady_from_where_it_is_said(model: Model) -> None:
    decoder, ids = model.decoder, ids_of(model)
    steady_from = decoder.steady_from
    assert steady_from is not None
    decoder.rewind(0)
    whole = decoder.feed(ids).copy()
    for length in range(steady_from, 8):
        decoder.rewind(0)
        for at in range(0, len(ids) - length, length):
            np.testing.assert_array_equal(
                decoder.feed(ids[at : at + length]), whole[at : at + length]
            )


LONG_TEXT = """
import sys
from pathlib import Path

from minigpt.runtime.draft import Draft
from minigpt.runtime.generation import generate
from minigpt.runtime.library import load
from minigpt.runtime.params import SamplingParams


def resident_kb():
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if "VmRSS" in line))


model = load("laptop")
params = SamplingParams(max_new_tokens=int(sys.argv[1]))
draft = Draft({}) if sys.argv[2] == "learns" else model.draft
n = 0
for token in generate(model.decoder, model.tokenizer, [0], lambda: params, draft=draft):
    n += 1
    if n == 10_000:
        early = resident_kb()
print(n, early, resident_kb())
"""


@pytest.mark.parametrize("draft", ["counted", "learns"])
@pytest.mark.parametrize("length", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_an_endless_text_takes_no_more_memory(draft: str, length: int) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("only Linux tells how much memory a process takes")
    command = [sys.executable, "-c", LONG_TEXT, str(length), draft]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    written, early, late = map(int, said.split())
    assert written == length
    assert late <= 1.01 * early


def test_bad_tokens_never_reach_onnxruntime(model: Model) -> None:
    model.decoder.rewind(0)
    for bad in ([65], [-1], [], [0] * (model.config.block_size + 1)):
        with pytest.raises(ValueError, match=r"token|exceed"):
            model.decoder.feed(bad)
    assert model.decoder.position == 0


def test_text_goes_on_past_the_window(model: Model) -> None:
    params = SamplingParams(max_new_tokens=5 * model.config.block_size)
    tokens = list(generate(model.decoder, model.tokenizer, [0], lambda: params))
    assert len(tokens) == 5 * model.config.block_size
    assert sum(token.slid for token in tokens) == 8


def test_loading_leaves_the_arithmetic_of_the_process_alone(model: Model) -> None:
    smallest_normal = np.finfo(np.float64).tiny
    assert smallest_normal / 2 > 0  # a flag of the processor could flush it to zero


def test_the_same_seed_writes_the_same_text_in_another_process() -> None:
    command = [sys.executable, "-m", "minigpt.cli", "generate", "--prompt", "JULIET:"]
    command += ["--max-new-tokens", "150", "--seed", "5"]
    texts = {
        subprocess.run(command, capture_output=True, check=True, env=os.environ | extra).stdout
        for extra in ({"PYTHONHASHSEED": "1"}, {"PYTHONHASHSEED": "2"})
    }
    assert len(texts) == 1
    assert len(texts.pop()) == 150


def in_fresh_home(home: Path) -> dict[str, str]:
    """The environment of a child whose every trace would be in `home`."""
    # in CI environments onnxruntime writes nothing anyway, and these tests would prove nothing
    ci = ("CI", "GITHUB_ACTIONS", "TF_BUILD", "TRAVIS", "JENKINS_URL", "TEAMCITY_VERSION")
    silenced = (*ci, "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "PYTHONPYCACHEPREFIX")
    home.mkdir()
    kept = {k: v for k, v in os.environ.items() if k not in silenced}
    return kept | {"PYTHONDONTWRITEBYTECODE": "1", "HOME": str(home), "TMPDIR": str(home)}


def test_no_trace_of_telemetry_in_a_fresh_home(tmp_path: Path) -> None:
    def files_left_by(*arguments: str) -> list[Path]:
        home = tmp_path / arguments[0].strip("-")
        environment = in_fresh_home(home)
        command = [sys.executable, *arguments]
        subprocess.run(command, check=True, capture_output=True, env=environment)
        return list(home.rglob("*"))

    if not files_left_by("-c", "import onnxruntime"):
        pytest.skip("this onnxruntime leaves no traces anyway, so there is nothing to show")
    assert files_left_by("-m", "minigpt.cli", "generate", "--max-new-tokens", "5") == []


def test_text_is_written_in_an_empty_network_and_leaves_nothing(tmp_path: Path) -> None:
    """The same text in a network namespace without so much as a loopback.

    The namespace holds for native code too. That none of it tries to connect is not shown, only
    that it has nobody to talk to and that the text does not depend on it; Python code does not
    even make a socket, as an audit hook tells.
    """
    unshare = ["unshare", "--user", "--map-root-user", "--net"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], check=False).returncode:
        pytest.skip("no network namespaces here: Linux with unprivileged ones is needed")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        connect = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"
        reach = [sys.executable, "-c", connect]
        assert subprocess.run(reach, capture_output=True, check=False).returncode == 0
        alone = subprocess.run([*unshare, *reach], capture_output=True, text=True, check=False)
        assert "unreachable" in alone.stderr

    program = (
        "import sys; sys.addaudithook(lambda event, _: event.startswith('socket.') "
        "and sys.stderr.write(event)); from minigpt.cli import main; main(sys.argv[1:])"
    )
    generate = [sys.executable, "-c", program, "generate", "--max-new-tokens", "50", "--seed", "5"]
    texts = []
    for name, command in (("outside", generate), ("inside", [*unshare, *generate])):
        home = tmp_path / name
        done = subprocess.run(command, capture_output=True, check=True, env=in_fresh_home(home))
        assert done.stderr == b""
        assert list(home.rglob("*")) == []
        texts.append(done.stdout)
    assert len(texts[0]) == 50
    assert texts[0] == texts[1]
