"""The commands as a user types them; slow or heavy ones in one process, the rest in children."""

import argparse
import json
import math
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import onnxruntime
import pytest

from minigpt import commands
from minigpt.cli import main
from minigpt.config import PRESETS
from minigpt.corpus import Corpus
from minigpt.errors import InputError
from minigpt.runtime.library import find_model, load, shipped_model
from minigpt.runtime.onnx_file import CARD_KEY, PARITY_KEY
from minigpt.runtime.onnx_walk import Walk
from minigpt.settings import apply_settings, read_run_file
from minigpt.terminal import one_line
from tests.runtime.fuzz_door import sealed

LAPTOP = str(find_model("laptop"))


def read_metrics(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one sentence of a command that must fail with 2 and print nothing else."""
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("minigpt: ")
    return lines[0]


def test_generate_writes_the_text_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    base = ("generate", LAPTOP, "--prompt", "ROMEO:", "--max-new-tokens")
    code, out, err = run(capsys, *base, 80)
    assert (code, len(out)) == (0, 80)
    assert err.startswith("note: the window of 64 characters was full once")
    assert run(capsys, *base, 9)[2] == ""


def test_generate_stops_before_a_stop_text(capsys: pytest.CaptureFixture[str]) -> None:
    base = ("generate", "--prompt", "ROMEO:", "--max-new-tokens", 300)
    _, whole, _ = run(capsys, *base)
    _, cut, _ = run(capsys, *base, "--stop", "e")
    assert cut == whole.split("e")[0]


def test_generate_explains_its_rules(capsys: pytest.CaptureFixture[str]) -> None:
    base = ("generate", "--prompt", "ROMEO:", "--max-new-tokens", 9, "--top-k", 3, "--min-p", 0.01)
    _, plain, _ = run(capsys, *base)
    code, out, err = run(capsys, *base, "--explain")
    assert (code, out) == (0, plain)
    lines = err.splitlines()
    names = [line.split()[0] for line in lines]
    assert names == ["model", "temperature", "top_k", "top_p", "min_p"]
    assert "'\\n'" in lines[0]
    assert "  3 left" in lines[2]


def test_generate_is_the_same_without_guesses(capsys: pytest.CaptureFixture[str]) -> None:
    base = ("generate", "--prompt", "ROMEO:", "--max-new-tokens", 200)
    assert run(capsys, *base) == run(capsys, *base, "--no-draft")


def test_generate_follows_a_pattern(capsys: pytest.CaptureFixture[str]) -> None:
    regex = r"([A-Z][a-z]{3} ){2}[0-9a-z]\n"
    _, out, err = run(capsys, "generate", "--prompt", "ROMEO:", "--pattern", regex, "--explain")
    assert re.fullmatch(regex, out)
    assert "pattern              26 left: " in err
    assert "needs no ^" in refused(capsys, "generate", "--pattern", "^a")
    assert "no regular expression" in refused(capsys, "generate", "--pattern", "(")
    assert "no characters to write" in refused(capsys, "generate", "--pattern", "€")
    code, out, err = run(capsys, "generate", "--pattern", "€?", "--explain")
    assert (code, out, err) == (0, "", "the pattern is matched before anything is written\n")


def test_generate_tells_of_a_text_that_is_cut_short_of_its_pattern(
    capsys: pytest.CaptureFixture[str],
) -> None:
    base = ("generate", "--prompt", "ROMEO:", "--pattern", "[a-z]{4}!?", "--max-new-tokens")
    note = "before the pattern is matched; --max-new-tokens 3 is too few"
    assert run(capsys, *base, 3)[2] == f"note: the text ends {note}\n"
    assert run(capsys, *base, 3, "--n", 2)[2] == f"note: 2 of 2 texts end {note}\n"
    assert run(capsys, *base, 3, "--beams", 2)[2] == f"note: the text ends {note}\n"
    assert run(capsys, *base, 4)[2] == ""
    text = run(capsys, *base, 3)[1]
    assert run(capsys, *base, 3, "--stop", text[1])[2] == ""  # that is what was asked for
    for n, matched in ((3, False), (4, True)):
        assert json.loads(run(capsys, *base, n, "--json")[1])["matched"] is matched
        several = json.loads(run(capsys, *base, n, "--n", 2, "--json")[1])
        assert several["matched"] == [matched] * 2
    plain = run(capsys, "generate", "--max-new-tokens", 3, "--json")[1]
    assert json.loads(plain)["matched"] is None


def test_generate_bans_and_biases(capsys: pytest.CaptureFixture[str]) -> None:
    base = ("generate", "--prompt", "ROMEO:", "--max-new-tokens", 100)
    _, out, _ = run(capsys, *base, "--ban", "e \n", "--bias", "x=50", "--bias", "q=-9.5")
    assert out == "x" * 100
    for bad in ("x", "=1", "x=", "x=nan", "x=many", "xy=1", "€=1"):
        assert "bias" in refused(capsys, *base, "--bias", bad)
    assert "no character '€' to ban" in refused(capsys, *base, "--ban", "€")
    assert "no characters to write" in refused(capsys, *base, "--pattern", "a", "--ban", "a")
    assert run(capsys, *base, "--pattern", "ab|cd", "--ban", "b")[1] == "cd"
    assert "below" not in refused(capsys, *base, "--bias", "a=-1e307")


def test_look_shows_the_ladder_and_where_a_head_looked(capsys: pytest.CaptureFixture[str]) -> None:
    base = ("look", LAPTOP, "--text", "ROMEO:\nO, spea")
    code, out, err = run(capsys, *base)
    lines = out.splitlines()
    assert (code, err, len(lines)) == (0, "", 1 + 1 + 4)
    assert lines[1].startswith("embedding")
    assert re.match(r"layer 4 +'k' +\d+%", lines[-1])
    code, out, _ = run(capsys, *base, "--layer", 2, "--head", 3)
    assert out.splitlines()[:6] == lines
    assert out.splitlines()[7] == "layer 2, head 3: where 'a' looked"
    shares = [float(line.split("%")[0]) for line in out.splitlines()[8:]]
    assert shares == sorted(shares, reverse=True)
    assert len(shares) == 8

    found = json.loads(run(capsys, *base, "--layer", 2, "--json")[1])
    heads = [
        json.loads(run(capsys, *base, "--layer", 2, "--head", head, "--json")[1])["attention"]
        for head in range(1, 5)
    ]
    mean = [sum(weights) / 4 for weights in zip(*heads, strict=True)]
    assert found["attention"] == pytest.approx(mean, abs=1e-6)
    assert sum(mean) == pytest.approx(1, abs=1e-5)
    assert found["ladder"][4][0]["char"] == "k"
    assert len(found["ladder"]) == 5


def test_look_tells_what_it_cannot_show(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, _, err = run(capsys, "look", LAPTOP, "--text", "€" + "a" * 65)
    assert "never seen '€'" in err
    assert "its last 64" in err
    assert "from 1 to 4 with" in refused(capsys, "look", LAPTOP, "--text", "a", "--layer", 5)
    assert "from 1 to 4 with" in refused(
        capsys, "look", LAPTOP, "--text", "a", "--layer", 1, "--head", 5
    )
    assert "--layer" in refused(capsys, "look", LAPTOP, "--text", "a", "--head", 1)
    assert "no character" in refused(capsys, "look", LAPTOP, "--text", "€")
    assert "a folder" in refused(capsys, "look", tmp_path, "--text", "a")


def test_generate_several_texts(capsys: pytest.CaptureFixture[str]) -> None:
    base = ("generate", "--prompt", "ROMEO:", "--max-new-tokens", 30, "--seed", 5)
    code, out, err = run(capsys, *base, "--n", 3)
    texts = out.removesuffix("\n").split("\n----\n")
    assert (code, [len(text) for text in texts], err) == (0, [30, 30, 30], "")
    assert len(set(texts)) == 3
    found = json.loads(run(capsys, *base, "--n", 3, "--json")[1])
    assert (found["texts"], found["slides"]) == (texts, 0)
    long = ("generate", LAPTOP, "--prompt", "ROMEO:", "--max-new-tokens", 100)
    for several in (("--n", 2), ("--beams", 2)):
        assert "was full 2 times" in run(capsys, *long, *several)[2]
    for many in (257, 10**10, 10**20):
        assert f"between 1 and 256 texts at once, not {many}" in refused(capsys, *base, "--n", many)


def test_generate_the_likeliest_text(capsys: pytest.CaptureFixture[str]) -> None:
    base = ("generate", "--prompt", "ROMEO:", "--max-new-tokens", 30)
    _, out, _ = run(capsys, *base, "--beams", 4)
    found = json.loads(run(capsys, *base, "--beams", 4, "--json")[1])
    greedy = json.loads(run(capsys, *base, "--temperature", 0, "--json")[1])
    assert out == found["texts"][0] + "\n"
    assert len(set(found["texts"])) == 4
    assert found["scores"] == sorted(found["scores"], reverse=True)
    assert found["scores"] == pytest.approx(found["logprobs"], abs=1e-4)  # no rule counts here
    assert found["logprobs"][0] >= greedy["logprob"] - 1e-4
    ruled = ("--bias", "q=9", "--json")  # what it has no say in, with one text or several
    one = json.loads(run(capsys, *base, "--beams", 1, *ruled)[1])
    drawn = json.loads(run(capsys, *base, "--n", 1, "--temperature", 0, *ruled)[1])
    assert one["texts"] == drawn["texts"]
    assert one["logprobs"] == pytest.approx(drawn["logprobs"], abs=1e-4)
    assert one["scores"][0] > one["logprobs"][0] + 1
    assert "without --stop" in refused(capsys, *base, "--beams", 4, "--stop", "a")


def test_generate_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "generate", "--max-new-tokens", 20, "--seed", 3, "--json")
    result = json.loads(out)
    assert code == 0
    assert result["tokens"] == len(result["text"]) == 20
    assert result["params"]["seed"] == 3
    assert result["logprob"] < 0


def test_json_says_what_repeats_a_text(capsys: pytest.CaptureFixture[str]) -> None:
    base = ("generate", LAPTOP, "--max-new-tokens", 20, "--json")
    one = json.loads(run(capsys, *base, "--stop", "e", "--stop", "th")[1])
    assert (one["stop"], one["n"], one["beams"]) == (["e", "th"], None, None)
    assert json.loads(run(capsys, *base, "--n", 2)[1])["n"] == 2
    beams = json.loads(run(capsys, *base, "--beams", 3, "--temperature", 0.5)[1])
    assert (beams["beams"], beams["stop"]) == (3, [])
    assert beams["params"]["temperature"] == beams["params"]["top_p"] == 1  # it draws nothing
    assert beams["params"]["max_new_tokens"] == 20


def test_unknown_characters_are_told_and_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    base = ("generate", "--max-new-tokens", 20, "--prompt")
    _, plain, _ = run(capsys, *base, "ROMEO")
    code, out, err = run(capsys, *base, "RO€ME\x1bO\u202eï€")
    assert (code, out) == (0, plain)
    assert "never seen '€\\x1b\\u202eï'" in err  # what commands a terminal is not shown as it is


def test_a_prompt_of_unknown_characters_alone_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "knows no character of the prompt '€€'" in refused(capsys, "generate", "--prompt", "€€")


def test_a_prompt_longer_than_the_window_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "generate", "--prompt", "so " * 500, "--max-new-tokens", 5)
    assert (code, len(out)) == (0, 5)
    assert "1500 characters; the model reads its last" in err


@pytest.mark.parametrize(
    ("flag", "value", "words"),
    [
        ("--temperature", "-1", "temperature must be between 0 and 100, not -1.0"),
        ("--top-p", "1.5", "top_p must be between 0 and 1, not 1.5"),
        ("--top-k", "-3", "top_k must be at least 0, not -3"),
        ("--max-new-tokens", "0", "max_new_tokens must be at least 1, not 0"),
        ("--seed", "-1", "seed must be between 0 and 18446744073709551615, not -1"),
        ("--bias", "e=2e6", "must be between -1000000 and 1000000, or minus infinity"),
        ("--stop", "", "stop text"),
    ],
)
def test_settings_out_of_range(
    capsys: pytest.CaptureFixture[str], flag: str, value: str, words: str
) -> None:
    assert words in refused(capsys, "generate", flag, value)


def test_models_that_are_none(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    other = tmp_path / "notes.onnx"
    other.write_bytes(b"these are my notes")
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(find_model("laptop").read_bytes()[:-100])
    assert "no file or model" in refused(capsys, "generate", "no.onnx")
    assert "no file or model" in refused(capsys, "generate", "x" * 5000)
    assert "not a complete .onnx" in refused(capsys, "info", other)
    assert "not a complete .onnx" in refused(capsys, "bench", cut)


EVIL = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\ud800[red]x[/red]\r\nval_loss         0.1\r"


def assert_harmless(shown: str) -> None:
    assert not {"\x1b", "\x07", "\x9b", "\u202e", "\r"} & set(shown)


def test_a_hostile_card_is_shown_harmlessly(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Walk().model(memoryview(find_model("laptop").read_bytes()))
    assert model.graph is not None
    texts = ("name", "corpus", "corpus_sha256", "minigpt_version", "created")
    card = json.loads(model.metadata[CARD_KEY]) | dict.fromkeys(texts, EVIL)
    evil = {CARD_KEY: json.dumps(card), PARITY_KEY: json.dumps({EVIL: EVIL})}
    path = tmp_path / "evil.onnx"
    path.write_bytes(sealed(bytes(model.graph), model.metadata | evil))
    _, honest, _ = run(capsys, "info", LAPTOP)
    code, out, err = run(capsys, "info", path)
    assert (code, err) == (0, "")
    assert_harmless(out)
    # nor can it add a line that says something better of it
    assert [line.split()[0] for line in out.splitlines()] == [
        line.split()[0] for line in honest.splitlines()
    ]
    for command in ("info", "generate"):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        _, out, _ = run(capsys, command, path, "--json")
        assert_harmless(out)
        assert EVIL in json.loads(out).values()


def test_hostile_names_are_shown_harmlessly(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "a\x1b[2J\x07\nminigpt: all is well.onnx"
    try:
        path.write_bytes(b"not a model")
    except OSError:
        pytest.skip("no such names here")
    assert_harmless(refused(capsys, "info", path))
    assert_harmless(refused(capsys, "generate", f"{path}.not"))
    with pytest.raises(SystemExit):  # what `minigpt info *` gives, if two match
        main(["info", LAPTOP, str(path)])
    err = capsys.readouterr().err
    assert_harmless(err)
    assert "well" in err.splitlines()[-1]


def test_a_gpu_wants_another_onnxruntime(capsys: pytest.CaptureFixture[str]) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("it is here")
    assert "--device cpu" in refused(capsys, "generate", LAPTOP, "--device", "cuda")


def test_info_tells_the_card(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "info", "--json")
    card = json.loads(out)
    assert code == 0
    assert card["corpus_chars"] == 1_115_394
    assert card["parameters"] == 4_755_200
    assert card["bytes"] == shipped_model().stat().st_size
    _, text, _ = run(capsys, "info")
    assert card["corpus_sha256"] in text
    for fact in ("parameters       4,755,200\n", "; n_layer 6; ", "val_loss         1.4055\n"):
        assert fact in text
    assert "{" not in text


def test_info_tells_of_a_file_whatever_its_name(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(Path(LAPTOP).read_bytes())
    known, of_run = (
        [line.split()[0] for line in run(capsys, "info", model)[1].splitlines()]
        for model in (file, trained)
    )
    assert {"bytes", "parity", "created"} <= set(known)
    assert not {"bytes", "parity", "created"} & set(of_run)


def test_eval_as_json(capsys: pytest.CaptureFixture[str], text_file: Path) -> None:
    code, out, _ = run(capsys, "eval", LAPTOP, text_file, "--json")
    result = json.loads(out)
    assert code == 0
    assert set(result) == {"val_loss", "tokens", "split"}
    assert result["split"] == "val"
    chars = load(LAPTOP).tokenizer.chars
    known = [c for c in text_file.read_text(encoding="utf-8") if c in chars]
    assert result["tokens"] == len(known) - int(0.9 * len(known)) - 1
    assert 0.5 < result["val_loss"] < 5
    other = json.loads(run(capsys, "eval", LAPTOP, text_file, "--split", "train", "--json")[1])
    assert set(other) == {"loss", "tokens", "split"}


def test_eval_tells_how_much_it_skips(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Ay me! 你好你好\n" * 10, encoding="utf-8")
    _, _, err = run(capsys, "eval", LAPTOP, tmp_path / "a.txt")
    assert err == (
        "warning: 40 of 120 characters of the text are skipped: the model has never seen '你好'\n"
    )


def test_eval_tells_what_is_memorized(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    settings = ("--max-new-tokens", 90, "--seed", 7)
    _, written, _ = run(capsys, "generate", LAPTOP, *settings)
    text = tmp_path / "text.txt"
    # the first 90% hold all that the model writes, the last 10% nothing of it
    text.write_text(written + "€" + "$" * 10, encoding="utf-8")
    base = ("eval", LAPTOP, text, "--memorized", *settings)
    code, out, err = run(capsys, *base, "--json")
    unknown, other, short = err.splitlines()
    assert "never seen '€'" in unknown
    assert "names another training text" in other
    assert "only 10 characters" in short
    everything = {"20": 1.0, "30": 1.0, "50": 1.0}
    found = json.loads(out)
    params = found.pop("params")
    assert (params["max_new_tokens"], params["temperature"], params["seed"]) == (90, 0.8, 7)
    assert (code, found) == (0, {
        "model": "laptop",
        "knows_corpus": False,
        "written": {"n_chars": 90, "longest": 90, "longest_text": written, "mean": 45.5,
                    "median": 45.5, "shares": everything},
        "validation": {"n_chars": 10, "longest": 0, "longest_text": "", "mean": 0.0,
                       "median": 0.0, "shares": dict.fromkeys(everything, 0.0)},
    })  # fmt: skip
    _, out, _ = run(capsys, *base)
    assert re.search(r"in runs of 30\+ +100\.0% +0\.0%\n", out)
    assert f'longest written: "{one_line(written)}"\n' in out


def test_eval_knows_the_training_text_of_a_model(
    capsys: pytest.CaptureFixture[str], shakespeare: Corpus, tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text(shakespeare.text, encoding="utf-8")
    base = ("eval", LAPTOP, text, "--memorized", "--max-new-tokens", 300, "--json")
    code, out, err = run(capsys, *base)
    found = json.loads(out)
    assert (code, err, found["knows_corpus"]) == (0, "", True)
    assert 3 < found["written"]["mean"] < 20
    assert 3 < found["validation"]["mean"] < 20


def test_eval_refuses_what_does_not_go_together(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("€", encoding="utf-8")
    assert "goes with --memorized" in refused(capsys, "eval", LAPTOP, text, "--seed", 1)
    base = ("eval", LAPTOP, text, "--memorized")
    assert "temperature must be between" in refused(capsys, *base, "--temperature", -1)
    code, _, err = run(capsys, *base)
    assert (code, err.count("\n")) == (2, 2)
    assert "too few characters" in err
    with pytest.raises(SystemExit, match="2"):
        run(capsys, *base, "--split", "train")


def test_bench_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "bench", "--tokens", 20, "--json")
    report = json.loads(out)
    assert code == 0
    assert report["tokens"] == 20
    assert min(report[k] for k in ("tokens_per_s", "first_token_ms", "load_ms")) > 0


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys)
    assert (code, out) == (2, "")
    assert "usage: minigpt" in err


@pytest.mark.parametrize(
    "error",
    [
        ImportError("DLL load failed while importing onnxruntime_pybind11_state"),
        pytest.param(OSError("Error loading c10.dll"), id="torch"),
    ],
)
def test_a_windows_without_visual_c_is_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(_: object) -> int:
        if isinstance(error, OSError):
            error.winerror = 126  # type: ignore[attr-defined,unused-ignore]
        raise error

    monkeypatch.setattr(commands, "generate", fail)
    assert "vc_redist.x64.exe" in refused(capsys, "generate")


def test_patterns_stand_for_files(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows no shell fills them in."""
    given: list[list[Path]] = []

    def evaluate(arguments: argparse.Namespace) -> int:
        given.append(arguments.text)
        return 0

    monkeypatch.setattr(commands, "evaluate", evaluate)
    for name in ("b.txt", "a.txt", "c[1].txt", "d.md"):
        (tmp_path / name).touch()
    for patterns in (["*.txt"], ["d.*", "a.txt"], ["c[1].txt"], ["*.pdf"]):
        assert run(capsys, "eval", "model.onnx", *(tmp_path / each for each in patterns))[0] == 0
    names = [[path.name for path in paths] for paths in given]
    assert names == [["a.txt", "b.txt", "c[1].txt"], ["d.md", "a.txt"], ["c[1].txt"], ["*.pdf"]]


def test_a_closed_pipe_ends_quietly() -> None:
    command = f"'{sys.executable}' -m minigpt.cli generate --max-new-tokens 3000 | head -c 10"
    done = subprocess.run(command, shell=True, capture_output=True, check=True)
    assert len(done.stdout) == 10
    assert done.stderr == b""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\x00\x01\x02", "NUL"),
        ("text".encode("utf-16"), "UTF-16 text; save"),
        (b"\xff\xd8\xff", "UTF-8"),
        (b"short", "too few"),
    ],
)
def test_texts_that_are_none(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes, words: str
) -> None:
    pytest.importorskip("torch")
    text = tmp_path / "book.txt"
    text.write_bytes(content)
    assert words in refused(capsys, "train", text, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_of_texts_is_told_how_to_be_given(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    assert f"or all of it: {tmp_path / '*.txt'}" in refused(capsys, "train", tmp_path)


def test_a_text_or_a_corpus_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    assert "--corpus pydoc" in refused(capsys, "train")
    assert "not both" in refused(capsys, "train", "a.txt", "--corpus", "pydoc")


def test_presets_and_settings_that_are_none(
    capsys: pytest.CaptureFixture[str], text_file: Path
) -> None:
    pytest.importorskip("torch")
    assert "tiny, laptop" in refused(capsys, "train", text_file, "--preset", "huge")
    assert "n_layers" in refused(capsys, "train", text_file, "--set", "n_layers=3")
    assert "key=value" in refused(capsys, "train", text_file, "--set", "n_layer")


def test_cuda_without_one(
    capsys: pytest.CaptureFixture[str], text_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "CUDA" in refused(capsys, "train", text_file, "--device", "cuda")


def test_cuda_that_cannot_be_used(
    capsys: pytest.CaptureFixture[str], text_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")

    def zeros(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: no kernel image is available\nCompile with ...")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "zeros", zeros)
    said = refused(capsys, "train", text_file, "--device", "cuda")
    assert said.endswith("cannot be used (CUDA error: no kernel image is available); "
                         "use --device cpu")  # fmt: skip


TRAIN = (
    *("--preset", "tiny", "--set", "n_layer=1", "--set", "n_embd=16", "--set", "n_head=2"),
    *("--set", "batch_size=4", "--set", "eval_interval=5", "--set", "sample_chars=20"),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("runs") / "pydoc"
    arguments = ["train", "--corpus", "pydoc", "--out", str(folder), "--max-steps", "10", *TRAIN]
    assert main(arguments) == 0
    return folder


def test_nobody_reads_the_verdict_of_a_training(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")

    def broken(*_: object) -> None:
        raise SystemExit(1)  # as rich does where the pipe is closed

    monkeypatch.setattr("rich.console.Console.print", broken)
    arguments = ("--corpus", "pydoc", "--out", tmp_path / "a", "--max-steps", "1", *TRAIN)
    code, _, err = run(capsys, "train", *arguments)
    assert (code, "export it:" in err) == (0, True)


def test_a_training_beside_others_says_so_when_it_begins(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr("minigpt.commands.wait_asleep_beside_others", lambda: True)
    assert "is a folder" in refused(capsys, "train", tmp_path)  # this one, and nothing else
    arguments = ("--corpus", "pydoc", "--out", tmp_path / "a", "--max-steps", "1", *TRAIN)
    code, _, err = run(capsys, "train", *arguments)
    assert code == 0
    assert "note: other processes want the cores too" in err
    monkeypatch.setattr("minigpt.commands.wait_asleep_beside_others", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # asked before anything else of lr-find, too
        main(["lr-find", "no.txt"])
    assert "CUDA" in refused(capsys, "train", "--device", "cuda")  # whose threads do not wait


def test_a_picture_that_cannot_be_drawn_costs_no_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_command = pytest.importorskip("minigpt.train_command")

    def fail(*_: object) -> Path:
        raise InputError("cannot write loss.png: No space left on device")

    monkeypatch.setattr(train_command, "plot_losses", fail)
    out = tmp_path / "run"
    code, _, err = run(capsys, "train", "--corpus", "pydoc", "--out", out, "--max-steps", 2, *TRAIN)
    assert code == 0
    assert "note: cannot write loss.png" in err
    assert f"best checkpoint and log are in {out}" in err


def test_a_model_that_no_file_can_hold_is_named_before_it_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr("minigpt.runtime.onnx_file.MAX_DECODER_BYTES", 1000)
    arguments = ("--corpus", "pydoc", "--out", tmp_path / "run", "--max-steps", 1, *TRAIN)
    code, _, err = run(capsys, "train", *arguments)
    assert code == 0
    assert "note: this model cannot be exported in any precision: a window of " in err


def test_a_run_leaves_its_files(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert names == {
        "last.safetensors", "previous.safetensors", "best.safetensors", "metrics.jsonl", "loss.png",
        "run.toml",
    }  # fmt: skip


def test_the_whole_path(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text_file: Path
) -> None:
    file = tmp_path / "model.onnx"
    code, _, err = run(capsys, "export", trained, "--onnx", file, "--name", "mine")
    assert code == 0
    assert "greedy tokens identical" in err
    texts, losses, copies = [], [], []
    for model in (trained, file):
        base = ("generate", model, "--prompt", "The ", "--max-new-tokens", 100, "--seed", 4)
        texts.append(run(capsys, *base)[1])
        losses.append(json.loads(run(capsys, "eval", model, text_file, "--json")[1])["val_loss"])
        memorized = ("--memorized", "--max-new-tokens", 100, "--seed", 4, "--json")
        copies.append(json.loads(run(capsys, "eval", model, text_file, *memorized)[1])["written"])
    assert copies[0] == copies[1]
    assert texts[0] == texts[1] != ""
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    assert json.loads(run(capsys, "info", file, "--json")[1])["name"] == "mine"
    assert "--force" in refused(capsys, "export", trained, "--onnx", file)
    assert run(capsys, "export", trained, "--onnx", file, "--force")[0] == 0
    assert "say what to write" in refused(capsys, "export", trained)


def test_a_run_is_found_by_name(
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("mine", "other"):
        copied(trained, tmp_path / "checkpoints" / name)
    (tmp_path / "mine").mkdir()  # hides no run, as it hides no model
    monkeypatch.chdir(tmp_path)
    few = ("--max-new-tokens", 20)
    by_path = run(capsys, "generate", "checkpoints/mine", *few)
    assert run(capsys, "generate", "mine", *few) == by_path
    assert json.loads(run(capsys, "info", "mine", "--json")[1])["file"] == str(
        Path("checkpoints", "mine")
    )
    assert run(capsys, "eval", "mine", text_file)[0] == 0
    assert "minigpt export makes a file" in refused(capsys, "look", "other", "--text", "a")
    assert run(capsys, "export", "mine", "--onnx", "checkpoints/mine.onnx")[0] == 0
    # now there is a file, too, which comes first
    assert json.loads(run(capsys, "info", "mine", "--json")[1])["file"].endswith("mine.onnx")
    assert run(capsys, "export", "mine", "--onnx", "checkpoints/again.onnx")[0] == 0
    for command in (("info",), ("export", "--onnx", "c.onnx")):
        assert "yours" in refused(capsys, command[0], "yours", *command[1:])


def test_a_folder_for_other_runtimes(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, folder = tmp_path / "model.onnx", tmp_path / "genai"
    both = ("export", trained, "--onnx", file, "--genai", folder, "--precision", "int8", "--force")
    assert run(capsys, *both)[0] == 0
    assert (folder / "onnx" / "model.onnx").read_bytes() == file.read_bytes()
    assert "--force" in refused(capsys, "export", trained, "--genai", folder)
    (folder / "notes.txt").touch()
    assert "'notes.txt' too" in refused(capsys, *both)


def test_outputs_that_cannot_be_written(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "does not exist" in refused(
        capsys, "export", trained, "--onnx", tmp_path / "no" / "x.onnx"
    )
    blocker = tmp_path / "file"
    blocker.touch()
    arguments = ("train", "--corpus", "pydoc", "--max-steps", 1, *TRAIN, "--out")
    assert "is a file" in refused(capsys, *arguments, blocker)
    assert "cannot write" in refused(capsys, *arguments, blocker / "below")


def test_a_run_is_not_overwritten_unasked(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {p.name: p.read_bytes() for p in trained.iterdir()}
    base = ("train", "--corpus", "pydoc", "--max-steps", 10, "--out", trained)
    assert "--resume" in refused(capsys, *base, *TRAIN)
    # what is no text is told first: a run of that name is no matter then
    model = tmp_path / f"{trained.name}.onnx"
    assert "does not exist" in refused(capsys, "train", model, "--out", trained)
    model.write_bytes(shipped_model().read_bytes()[:9999])
    assert "is not text" in refused(capsys, "train", model, "--out", trained)
    # nor by a command that is wrong in another way
    assert "too few" in refused(capsys, *base, "--force", "--set", "block_size=999999")
    assert {p.name: p.read_bytes() for p in trained.iterdir()} == before


def test_a_resumed_run_keeps_text_and_settings(
    trained: Path, capsys: pytest.CaptureFixture[str], text_file: Path
) -> None:
    assert "another text" in refused(capsys, "train", text_file, "--out", trained, "--resume")
    nowhere = trained / "nowhere"
    assert "nothing to resume" in refused(capsys, "train", text_file, "--out", nowhere, "--resume")
    base = ("train", "--corpus", "pydoc", "--out", trained, "--resume")
    said = refused(capsys, *base, "--max-steps", 12)
    assert "max_steps 10 -> 12; resume without what sets them, or begin a new run in" in said
    code, _, err = run(capsys, *base)
    assert code == 0
    assert f"note: {trained} is finished: its 10 steps were done before" in err
    assert "this model" in err


def test_a_run_begins_with_what_a_model_has_learned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text_file: Path
) -> None:
    pytest.importorskip("torch")
    text_file.write_text(text_file.read_text(encoding="utf-8") + "Þ\n", encoding="utf-8")
    out = tmp_path / "mine"
    base = ("train", text_file, "--set", "sample_chars=0", "--set", "dropout=0.1")
    code, _, err = run(capsys, *base, "--from", LAPTOP, "--out", out, "--max-steps", 2)
    assert code == 0
    text = "tinyshakespeare.txt, sha256 86c4e6aa9db7"
    described = f"laptop (fp32, 2,000 steps on {text}, loss 1.5268)"
    assert f"begins with {described}; characters that are new to it, " in err
    assert f"# begun with {described}\n" in (out / "run.toml").read_text(encoding="utf-8")
    assert "book.txt, after tinyshakespeare.txt" in run(capsys, "info", out)[1]
    assert read_metrics(out)[1]["val_loss"] < math.log(65) - 0.5
    assert read_run_file(out / "run.toml").settings["eval_interval"] == 1
    again = (*base, "--from", LAPTOP, "--out", out, "--max-steps", 2, "--resume")
    err = run(capsys, *again)[2]
    assert "note: --from is for a run's beginning" in err
    assert "is finished" in err
    code, text, err = run(capsys, "generate", out, "--prompt", "Þ&", "--max-new-tokens", 9)
    assert (code, len(text), "never seen" in err) == (0, 9, False)
    repeated = tmp_path / "again" / "mine"
    command = ("train", text_file, "--config", out / "run.toml", "--out", repeated)
    assert run(capsys, *command)[0] == 0
    names = ("last.safetensors", "best.safetensors", "metrics.jsonl", "run.toml")
    for name in names:
        assert (repeated / name).read_bytes() == (out / name).read_bytes(), name


def test_a_run_can_be_gone_on_from_in_three_passes(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text_file: Path
) -> None:
    from minigpt.config import fine_tuning

    out = tmp_path / "further"
    code, _, err = run(capsys, "train", text_file, "--from", trained, "--out", out)
    assert code == 0
    assert "begins with pydoc (fp32, 10 steps on " in err
    n_train = int(0.9 * len(text_file.read_text(encoding="utf-8")))
    expected = fine_tuning(n_train, 32)
    assert expected.max_steps == -(-3 * n_train // (16 * 32))
    file = read_run_file(out / "run.toml")
    assert file.start == str(trained)
    assert file.settings["max_steps"] == expected.max_steps


def test_a_run_does_not_replace_what_it_begins_with(
    trained: Path, capsys: pytest.CaptureFixture[str], text_file: Path
) -> None:
    before = {path.name: path.read_bytes() for path in trained.iterdir()}
    for start in (trained, trained / "best.safetensors"):
        said = refused(capsys, "train", text_file, "--from", start, "--out", trained, "--force")
        assert said.endswith("holds what this run is to begin with: choose another folder by --out")
    assert {path.name: path.read_bytes() for path in trained.iterdir()} == before


def test_what_a_run_begins_with_keeps_its_shape(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text_file: Path
) -> None:
    pytest.importorskip("torch")
    base = ("train", text_file, "--out", tmp_path / "run", "--from")
    said = refused(capsys, *base, LAPTOP, "--set", "n_layer=2", "--set", "dropout=0.5")
    assert "these would change: n_layer 4 -> 2; of a model's settings only dropout can" in said
    assert "--from needs a model" in refused(capsys, *base, "")
    assert "--from needs a name in UTF-8" in refused(capsys, *base, "m\udce9.onnx")
    config = tmp_path / "run.toml"
    config.write_text('preset = "tiny"\nfrom = "laptop"', encoding="utf-8")
    said = refused(capsys, *base[:-1], "--config", config)
    assert f"from in {config} keeps the shape of laptop, and preset tiny" in said
    text_file.write_text("too short for it\n" * 3, encoding="utf-8")
    assert refused(capsys, *base, LAPTOP).endswith("give it at least 73")
    assert "preset tiny" in refused(capsys, *base, LAPTOP, "--preset", "tiny")
    assert "no file or model" in refused(capsys, *base, "nowhere")
    assert "is not a complete .onnx file" in refused(capsys, *base, text_file)
    assert not (tmp_path / "run").exists()


def test_a_large_text_is_tokenized_once(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("torch")
    from minigpt.training import shards

    monkeypatch.setattr(shards, "LARGE_BYTES", 1)
    base = ("train", text_file, "--out", tmp_path / "run", *TRAIN, "--set", "eval_tokens=1000")
    code, _, err = run(capsys, *base, "--max-steps", 5)
    n = len(text_file.read_text(encoding="utf-8"))
    assert code == 0
    assert f"validated on 1,000 of {n - int(0.9 * n) - 1:,} characters" in err
    ids = tmp_path / ".minigpt-ids"
    assert sum(path.stat().st_size == n for path in ids.iterdir()) == 1
    before = {path: path.stat().st_mtime_ns for path in ids.iterdir()}
    assert "--resume" in refused(capsys, *base)
    assert run(capsys, "train", text_file, "--out", tmp_path / "run", "--resume")[0] == 0
    assert {path: path.stat().st_mtime_ns for path in ids.iterdir()} == before
    text_file.write_text("another text " * 99, encoding="utf-8")
    assert "another text" in refused(capsys, *base, "--resume")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals for one process alone")
def test_sigterm_while_tokenizing_leaves_in_good_order(
    tmp_path: Path, text_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from minigpt.training import shards

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(shards, "LARGE_BYTES", 1)
    monkeypatch.setattr(shards, "_encode_all", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit) as left:
        main(["train", str(text_file), "--out", str(tmp_path / "run")])
    assert left.value.code == 143
    assert list((tmp_path / ".minigpt-ids").iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_damaged_checkpoint_is_named_and_another_one_used(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in trained.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "best.safetensors").write_bytes(b"damaged")
    code, out, err = run(capsys, "generate", copy, "--max-new-tokens", 5)
    assert code == 0
    assert len(out) == 5
    assert "best.safetensors is not a whole checkpoint" in err


def test_a_run_file_repeats_the_run(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = tmp_path / trained.name  # the folder's name is on the card
    base = ("train", "--corpus", "pydoc", "--config", trained / "run.toml", "--out", again)
    again.mkdir()
    left = again / ".run.toml.0123.tmp"  # by a run that was killed as it began
    left.touch()
    code, _, err = run(capsys, *base)
    assert code == 0
    assert not left.exists()
    for name in ("last.safetensors", "best.safetensors", "metrics.jsonl", "run.toml"):
        assert (again / name).read_bytes() == (trained / name).read_bytes(), name
    kept = (again / "run.toml").read_text(encoding="utf-8")
    assert kept.startswith("# trained on pydoc, ")
    assert kept.partition("\n")[2] in err  # what is printed can be pasted
    assert run(capsys, *base, "--resume")[0] == 0
    assert "max_steps 10 -> 12" in refused(capsys, *base, "--resume", "--max-steps", 12)
    assert (again / "run.toml").read_text(encoding="utf-8") == kept


def test_flags_come_before_the_file_and_the_file_before_the_preset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text_file: Path
) -> None:
    pytest.importorskip("torch")
    config = tmp_path / "mine.toml"
    lines = ('preset = "tiny"', "n_layer = 1", "n_embd = 16", "max_steps = 4", "seed = 5")
    config.write_text("\n".join((*lines, "batch_size = 2")), encoding="utf-8")
    base = ("train", text_file, "--config", config, "--out", tmp_path / "run")
    code, _, _ = run(capsys, *base, "--set", "n_head=2", "--set", "max_steps=9",
                     "--max-steps", 3, "--patience", 2)  # fmt: skip
    assert code == 0
    file = read_run_file(tmp_path / "run" / "run.toml")
    tiny = PRESETS["tiny"]
    assert apply_settings(tiny.model, tiny.train, file.settings) == (
        replace(tiny.model, n_layer=1, n_embd=16, n_head=2),
        replace(tiny.train, max_steps=3, seed=5, batch_size=2, patience=2),
    )
    # a file alone may be impossible, and its shape is wrong only with what is around it
    assert "mine.toml: n_embd must be" in refused(capsys, *base, "--force", "--set", "n_head=3")
    wrong = ("--set", "n_head=2", "--set", "dropout=2")
    assert "mine.toml" not in refused(capsys, *base, "--force", *wrong)
    config.write_text("n_layers = 1", encoding="utf-8")
    assert "mine.toml: unknown setting 'n_layers'" in refused(capsys, *base, "--force")
    assert "does not exist" in refused(capsys, "train", text_file, "--config", tmp_path / "no")


def test_patience_ends_a_run_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text_file: Path
) -> None:
    pytest.importorskip("torch")
    base = ("train", text_file, *TRAIN, "--out", tmp_path / "run", "--max-steps", 100)
    # a rate of nothing: no evaluation is better than the first
    rates = ("--set", "learning_rate=1e-30", "--set", "muon_learning_rate=0")
    code, _, err = run(capsys, *base, "--patience", 2, *rates)
    assert code == 0
    assert "ended at step 10: the last 2 evaluations brought no better validation loss" in err
    assert "this model" in err
    assert "No evaluation was better than the model before its first step" in " ".join(err.split())
    assert " patience book" in " ".join(run(capsys, "runs", tmp_path / "run")[1].split())
    _, _, err = run(capsys, *base, "--force", "--patience", 1, *rates)
    assert "ended at step 5: the last evaluation brought no better validation loss" in err


def test_minutes_become_a_fixed_number_of_steps(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("torch")
    from minigpt import train_command
    from minigpt.training.plan import Costs

    # 26 or 27 steps fit, and a multiple of the ten evaluations is taken
    monkeypatch.setattr(train_command, "measure_costs", lambda *_: Costs(20.0, 1.0))
    base = ("train", text_file, *TRAIN[:8], "--set", "batch_size=4", "--out")
    one, two = tmp_path / "a" / "run", tmp_path / "b" / "run"
    code, _, err = run(capsys, *base, one, "--minutes", 10)
    assert code == 0
    assert "plan: 20 steps of 20 s and 10 evaluations of 1 s, about 5" in err
    steps = [row["step"] for row in read_metrics(one) if "loss" in row]
    assert steps == list(range(1, 21))
    planned = read_run_file(one / "run.toml").settings
    assert (planned["max_steps"], planned["eval_interval"]) == (20, 2)
    assert run(capsys, "train", text_file, "--config", one / "run.toml", "--out", two)[0] == 0
    assert (one / "last.safetensors").read_bytes() == (two / "last.safetensors").read_bytes()
    # whatever named the preset, the plan is the run's
    assert run(capsys, *base, one, "--resume")[0] == 0
    assert "max_steps 20 -> 9" in refused(capsys, *base, one, "--resume", "--max-steps", 9)
    both = ("--config", one / "run.toml", "--minutes", 10)
    assert "--minutes plans max_" in refused(capsys, *base, tmp_path / "d", *both)
    for too_slow in (Costs(40.0, 1.0), Costs(20.0, 1.0, begin_s=200.0)):
        monkeypatch.setattr(train_command, "measure_costs", lambda *_, costs=too_slow: costs)
        assert "--minutes is too short" in run(capsys, *base, tmp_path / "c", "--minutes", 10)[2]


def test_minutes_that_are_none(capsys: pytest.CaptureFixture[str], text_file: Path) -> None:
    pytest.importorskip("torch")
    base = ("train", text_file)
    for minutes in ("0", "-1", "nan", "inf", "1e9"):
        assert "above 0 and at most" in refused(capsys, *base, "--minutes", minutes)
    for others in (["--resume"], ["--max-steps", "9"], ["--set", "eval-interval=9"]):
        assert "--minutes plans max_" in refused(capsys, *base, "--minutes", "1", *others)


def test_a_learning_rate_is_looked_for(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    before = {path.name for path in tmp_path.iterdir()}
    base = ("lr-find", text_file, *TRAIN)
    code, out, err = run(capsys, *base)
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split() == ["learning", "rate", "loss"]
    assert lines[1].startswith("      1.0e-05   4.")
    assert lines[-1].startswith("suggestion: learning_rate=")
    assert "lr-find.png shows it" in err
    assert {path.name for path in tmp_path.iterdir()} - before == {"lr-find.png"}
    assert (tmp_path / "lr-find.png").read_bytes().startswith(b"\x89PNG")
    assert "ends with .png" in refused(capsys, *base, "--plot", text_file)
    assert "create it first" in refused(capsys, *base, "--plot", tmp_path / "no" / "a.png")
    assert "unknown setting 'n_layers'" in refused(capsys, *base, "--set", "n_layers=1")


@pytest.mark.parametrize(("sent", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_saves_and_resume_goes_on(tmp_path: Path, sent: str, code: int) -> None:
    pytest.importorskip("torch")
    if os.name == "nt":
        pytest.skip("Windows has no signals for one child alone")
    folder = tmp_path / "run"
    command = [sys.executable, "-u", "-m", "minigpt.cli", "train", "--corpus", "pydoc", *TRAIN]
    command += ["--out", str(folder), "--max-steps", "100000"]

    def run_until(words: str, extra: list[str]) -> str:
        """Start it, send the signal when it says `words`; return all that it said."""
        said = ""
        with subprocess.Popen(
            command + extra, stderr=subprocess.PIPE, text=True, encoding="utf-8"
        ) as child:
            assert child.stderr is not None
            for line in child.stderr:
                said += line
                if words in line:
                    child.send_signal(getattr(signal, sent))
                    break
            said += child.stderr.read()
        assert child.returncode == code
        assert "Traceback" not in said
        return said

    first = run_until("step 5 sample", [])
    assert first.count("stopping soon") == 1
    stopped = int(first.split("stopped at step ")[1].split(",")[0])
    assert (folder / "loss.png").exists()
    goal = 5 * (stopped // 5) + 10
    second = run_until(f"step {goal} sample", ["--resume"])
    assert "step 5 " not in second
    steps = [row["step"] for row in read_metrics(folder) if "loss" in row]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) > stopped


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGHUP")
def test_a_closed_terminal_stops_a_run_in_good_order_unless_it_is_not_to_matter() -> None:
    pytest.importorskip("torch")
    from minigpt import train_command

    with train_command._stop_signal() as received:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)  # of the shell, and of the system
        assert received() == signal.SIGHUP
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with train_command._stop_signal() as received:
            os.kill(os.getpid(), signal.SIGHUP)
            assert received() is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_training_goes_on_when_nobody_looks(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    arguments = ["train", "--corpus", "pydoc", "--out", str(tmp_path / "run"), *TRAIN]
    child = f"'{sys.executable}' -m minigpt.cli {' '.join(arguments)} --max-steps 12 2>&1 | head -1"
    subprocess.run(child, shell=True, check=True, capture_output=True)
    rows = read_metrics(tmp_path / "run")
    assert max(row["step"] for row in rows if "loss" in row) == 12


@pytest.mark.parametrize("failing", ["GPT", "next_token_loss"])
def test_a_failing_start_loses_no_older_run(
    trained: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    failing: str,
) -> None:
    from minigpt.training import state

    def no_memory(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(state, failing, no_memory)
    before = {p.name: p.read_bytes() for p in trained.iterdir()}
    code, _, err = run(capsys, "train", "--corpus", "pydoc", "--out", trained, "--force", *TRAIN)
    assert code == 2
    assert "does not fit into memory" in err
    assert {p.name: p.read_bytes() for p in trained.iterdir()} == before


def test_a_damaged_last_checkpoint_never_replaces_the_previous_one(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / trained.name
    copy.mkdir()
    for path in trained.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "last.safetensors").write_bytes(b"damaged")
    code, _, err = run(capsys, "train", "--corpus", "pydoc", "--out", copy, "--resume")
    assert code == 0
    assert "going on from an older checkpoint" in err
    for name in ("last.safetensors", "best.safetensors"):
        assert (copy / name).read_bytes() == (trained / name).read_bytes()
    assert (copy / "last.damaged").read_bytes() == b"damaged"


def test_tensorboard_files_are_written_and_go_with_their_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text_file: Path
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("tensorboard")
    base = ("train", text_file, "--out", tmp_path / "run", "--max-steps", 5, *TRAIN)
    for extra, n_files in (
        (["--tensorboard"], 1),
        (["--tensorboard", "--resume"], 2),
        (["--force"], 0),
    ):
        assert run(capsys, *base, *extra)[0] == 0
        files = list(tmp_path.glob("run/tensorboard/events.out.tfevents.*"))
        assert len(files) == n_files


def test_tensorboard_is_missed_before_anything_is_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    base = ("train", "--corpus", "pydoc", "--out", tmp_path / "run")
    assert '".[tensorboard]"' in refused(capsys, *base, "--tensorboard")
    assert not (tmp_path / "run").exists()


def test_runs_are_compared(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "dam[b]aged\x1b"
    damaged.mkdir()
    (damaged / "last.safetensors").write_bytes(b"x")
    picture = tmp_path / "all.png"
    code, out, err = run(capsys, "runs", trained.parent, tmp_path, "--plot", picture)
    assert code == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == "run parameters steps best val at step last val state corpus"
    assert re.match(r"pydoc [\d,]+ 10/10 (\d\.\d{4}) \d+ \d\.\d{4} finished pydoc", lines[2])
    assert lines[3] == "dam[b]aged␛ - 0/? - - - stopped -"
    assert picture.read_bytes().startswith(b"\x89PNG")
    drawn, note = err.splitlines()
    assert drawn == f"{picture}: 1 of 2 runs"
    assert note.startswith("note: ")
    assert "dam[b]aged␛: last.safetensors: damaged" in note

    code, out, _ = run(capsys, "runs", trained, "--json")
    (facts,) = json.loads(out)["runs"]
    assert (facts["steps"], facts["state"], facts["notes"]) == (10, "finished", [])
    assert set(read_metrics(trained)[0]) == {"uniform", "bigram", "five_gram"}
    losses = [row for row in read_metrics(trained) if "val_loss" in row]
    assert facts["best_val_loss"] == min(row["val_loss"] for row in losses)


def test_runs_without_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "there is no folder checkpoints; give a run's folder" in refused(capsys, "runs")
    (tmp_path / "checkpoints").mkdir()
    assert run(capsys, "runs")[:2] == (0, "")
    assert json.loads(run(capsys, "runs", "--json")[1]) == {"runs": []}
    assert "nothing to draw" in refused(capsys, "runs", "--plot", "a.png", "--json")
    assert ".png" in refused(capsys, "runs", "--plot", "a.jpg")
    assert "does not exist" in refused(capsys, "runs", "--plot", "no/a.png")


def copied(run: Path, folder: Path) -> Path:
    folder.mkdir(parents=True)
    for path in run.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_a_run_is_found_by_its_name(
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    copied(trained, tmp_path / "checkpoints" / "mine")
    (facts,) = json.loads(run(capsys, "runs", "mine", "--json")[1])["runs"]
    assert facts["folder"] == str(Path("checkpoints", "mine"))
    assert "other is not a folder" in refused(capsys, "runs", "other")
    (tmp_path / "mine").mkdir()
    assert json.loads(run(capsys, "runs", "mine", "--json")[1]) == {"runs": [facts]}
    copied(trained, tmp_path / "here")
    copied(trained, tmp_path / "checkpoints" / "here")
    (facts,) = json.loads(run(capsys, "runs", "here", "--json")[1])["runs"]
    assert facts["folder"] == "here"  # a path comes first


RESUME = ("train", "--corpus", "pydoc", "--resume", "--out")


def test_a_lost_best_checkpoint_is_told_and_replaced(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = copied(trained, tmp_path / trained.name)
    (copy / "best.safetensors").write_bytes(b"damaged")
    code, _, err = run(capsys, *RESUME, copy)
    assert code == 0
    assert "best.safetensors is not a whole checkpoint" in err.splitlines()[0]
    assert run(capsys, "eval", copy, trained / "metrics.jsonl")[2] == ""


def test_two_damaged_checkpoints_are_one_sentence_and_stay(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = copied(trained, tmp_path / "copy")
    for name in ("last.safetensors", "previous.safetensors"):
        content = bytearray((copy / name).read_bytes())
        content[-1] ^= 1
        (copy / name).write_bytes(content)
    before = {p.name: p.read_bytes() for p in copy.iterdir()}
    said = refused(capsys, *RESUME, copy)
    assert "last.safetensors is damaged" in said
    assert "previous.safetensors is damaged" in said
    assert {p.name: p.read_bytes() for p in copy.iterdir()} == before


def test_a_damaged_log_is_cut_where_it_is_damaged(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = copied(trained, tmp_path / "copy")
    log = (copy / "metrics.jsonl").read_bytes()
    (copy / "metrics.jsonl").write_bytes(log[:-40] + b"\xff\xfe\0")
    assert run(capsys, *RESUME, copy)[0] == 0
    assert read_metrics(copy) == read_metrics(trained)


def test_a_file_of_another_run_is_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ("train", "--corpus", "pydoc", "--max-steps", 10, *TRAIN, "--seed", 2, "--out")
    assert run(capsys, *base, tmp_path / "two")[0] == 0
    for name in ("last", "previous", "best"):
        copy = copied(trained, tmp_path / name)
        other = (tmp_path / "two" / f"{name}.safetensors").read_bytes()
        (copy / f"{name}.safetensors").write_bytes(other)
        assert "is of another run" in refused(capsys, *RESUME, copy)


def test_the_same_command_goes_on_with_a_run_of_before_the_average(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import replace

    from minigpt.training import checkpoint

    copy = copied(trained, tmp_path / "copy")
    for name in checkpoint.TO_USE:  # as an older version has written them
        now = checkpoint.load(copy / name)
        state = {k: v for k, v in now.optimizer.items() if not k.endswith("/ema")}
        train = replace(now.train, ema_decay=0.0)
        checkpoint.save(replace(now, train=train, optimizer=state), copy / name)
    said = refused(capsys, *RESUME, copy, *TRAIN, "--set", "ema_decay=0.5")
    assert "ema_decay 0.0 -> 0.5" in said
    assert run(capsys, *RESUME, copy, "--preset", "tiny", "--max-steps", 10, *TRAIN)[0] == 0


def test_a_resume_on_another_machine_says_so_and_goes_on(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import replace

    from minigpt.training import checkpoint

    copy = copied(trained, tmp_path / "copy")
    last = copy / checkpoint.LAST
    before = checkpoint.load(last)
    threads = before.machine.threads
    machine = replace(before.machine, threads=threads + 1, processes=2)
    checkpoint.save(replace(before, machine=machine), last)
    code, _, err = run(capsys, *RESUME, copy)
    assert code == 0
    assert f"\nwarning: threads {threads + 1} -> {threads}, processes 2 -> 1 since the last" in err


def test_a_resume_with_another_tokenizer_is_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import replace

    from minigpt.training import checkpoint

    copy = copied(trained, tmp_path / "copy")
    for name in checkpoint.TO_USE:
        one = checkpoint.load(copy / name)
        backwards = replace(one.tokenizer, chars=one.tokenizer.chars[::-1])
        checkpoint.save(replace(one, tokenizer=backwards), copy / name)
    assert "keeps its tokenizer" in refused(capsys, *RESUME, copy)


def test_two_runs_in_one_folder_are_refused(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from minigpt.training import lock

    before = {p.name: p.read_bytes() for p in trained.iterdir()}
    base = ("train", "--corpus", "pydoc", "--out", trained)
    with lock.lock_folder(trained):
        for how in ("--resume", "--force"):
            said = refused(capsys, *base, how)
            assert f"another run is writing to {trained} (process {os.getpid()})" in said
    assert {p.name: p.read_bytes() for p in trained.iterdir()} == before

    def none_here(handle: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(lock, "_lock", none_here)
    code, _, err = run(capsys, *base, "--resume")
    assert code == 0
    assert err.startswith("note: nothing can be locked in ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_sentence() -> None:
    command = [sys.executable, "-m", "minigpt.cli", "generate", "--max-new-tokens", "5"]
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "minigpt: cannot write: No space left on device\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("arguments", "code", "n_chars"),
    [(("--max-new-tokens", "70"), 0, 70), (("--seed", "-1"), 2, 0)],
)
def test_a_note_that_cannot_be_told_changes_nothing(
    arguments: tuple[str, ...], code: int, n_chars: int
) -> None:
    command = [sys.executable, "-m", "minigpt.cli", "generate", LAPTOP, *arguments]
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=full, check=False)
    assert (done.returncode, len(done.stdout)) == (code, n_chars)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_training_ends_well_when_nothing_can_be_told(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    command = [sys.executable, "-m", "minigpt.cli", "train", "--corpus", "pydoc", *TRAIN]
    command += ["--out", str(tmp_path / "run"), "--max-steps", "2"]
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(command, stderr=full, check=False)
    assert done.returncode == 0


def test_bytes_that_are_no_text_are_skipped_in_a_prompt() -> None:
    command = [sys.executable, "-m", "minigpt.cli", "generate", "--prompt", "-"]
    command += ["--max-new-tokens", "5"]
    done = subprocess.run(
        command, input=b"ROM\xffEO:", capture_output=True, check=True,
        env=os.environ | {"PYTHONIOENCODING": "utf-8:strict"},
    )  # fmt: skip
    assert len(done.stdout) == 5
    assert b"never seen" in done.stderr


def test_a_stderr_that_cannot_show_a_character_is_no_failure() -> None:
    command = [sys.executable, "-m", "minigpt.cli", "generate", "--prompt", "O€", "--ban", "€"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "0"}
    done = subprocess.run(command, capture_output=True, check=False, env=environment)
    assert done.returncode == 2
    assert done.stderr.startswith(b"minigpt: the model has no character '?' to ban")


def test_commands_without_their_packages_name_the_install_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "minigpt.train_command", raising=False)
    monkeypatch.delitem(sys.modules, "minigpt.torch_decoder", raising=False)
    assert "pip install" in refused(capsys, "train", "--corpus", "pydoc")


@pytest.mark.skipif(not hasattr(os, "uname"), reason="Windows has no such call")
@pytest.mark.parametrize(("machine", "threads"), [("x86_64", "1"), ("aarch64", None)])
def test_numpy_starts_no_threads_where_pytorch_does_not_obey_too(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    machine: str,
    threads: str | None,
) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "to be put back")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine=machine))
    refused(capsys, "info", "nothing.onnx")
    assert os.environ.get("OPENBLAS_NUM_THREADS") == threads
