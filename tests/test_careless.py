"""What a careless or a curious person types: each mistake is one sentence, and nothing is lost."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from minigpt.cli import main
from minigpt.terminal import shell_word
from tests.test_cli import LAPTOP, TRAIN, refused, run


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one sentence of a command whose arguments do not parse."""
    with pytest.raises(SystemExit, match="2"):
        main([str(a) for a in arguments])
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


def test_arguments_that_do_not_parse_are_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    line = told(capsys, "generate", "--n", "0")
    assert line.startswith("minigpt generate: argument --n: must be a whole number from 1 on")
    assert line.endswith("; minigpt generate --help tells more")
    assert "not allowed with" in told(capsys, "generate", "--n", "2", "--beams", "2")
    line = told(capsys, "bench", "laptop", "--sed", "1")
    assert line == "minigpt bench: unrecognized arguments: --sed 1; minigpt bench --help tells more"
    assert told(capsys, "--sed").endswith("; minigpt --help tells more")
    assert "invalid choice" in told(capsys, "exprt")
    assert "a text file is given without --corpus" in told(capsys, "train", "--corpus", "a.txt")


def test_a_value_that_begins_with_a_dash_is_told_how(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--option=-value" in told(capsys, "generate", LAPTOP, "--ban", "-'")
    code, out, _ = run(capsys, "generate", LAPTOP, "--ban=-'", "--max-new-tokens", 5)
    assert (code, len(out)) == (0, 5)


def test_beams_tell_of_settings_that_change_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    base = ("generate", LAPTOP, "--beams", 2, "--max-new-tokens", 5)
    _, plain, err = run(capsys, *base, "--repetition-penalty", 1.5)
    assert err == ""
    code, out, err = run(capsys, *base, "--repetition-penalty", 1.5, "--temperature", 3,
                         "--seed", 4, "--explain")  # fmt: skip
    assert (code, out) == (0, plain)
    note, *rules = err.splitlines()
    assert "so --temperature, --seed change nothing" in note
    assert "so --seed changes nothing" in run(capsys, *base, "--seed", 4)[2]
    assert [line.split()[0] for line in rules] == ["model", "repetition_penalty"]


def test_a_stop_text_that_cannot_come_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    base = ("generate", LAPTOP, "--max-new-tokens", 5)
    code, out, err = run(capsys, *base, "--stop", "fiancé\x1b", "--stop", "\n")
    assert (code, err.count("\n")) == (0, 1)
    assert "has never seen 'é\\x1b', so it never stops at 'fiancé\\x1b'" in err
    assert run(capsys, *base, "--stop", "\n") == (0, out, "")


def test_a_prompt_from_a_pipe_may_have_the_line_ends_of_windows() -> None:
    command = [sys.executable, "-m", "minigpt", "generate", LAPTOP, "--prompt", "-"]
    command += ["--max-new-tokens", "5"]
    one, other = (
        subprocess.run(command, input=text, capture_output=True, check=True)
        for text in (b"ROMEO:\r\nhi\r\n", b"ROMEO:\nhi\n")
    )
    assert one.stdout == other.stdout
    assert one.stderr == b""


@pytest.mark.skipif(os.name == "nt", reason="needs a shell of POSIX")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_are_no_crash(closed: str) -> None:
    command = f"'{sys.executable}' -m minigpt generate '{LAPTOP}' --max-new-tokens 5 {closed}"
    done = subprocess.run(command, shell=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(os.name == "nt", reason="needs a shell of POSIX")
def test_a_table_that_nobody_reads_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n' * 3, encoding="utf-8")
    command = f"set -o pipefail; '{sys.executable}' -m minigpt runs '{tmp_path}' | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False)
    assert done.returncode == 0


def test_a_text_that_is_foretold_has_a_loss_of_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    text = tmp_path / "a.txt"
    text.write_text("a" * 5000, encoding="utf-8")
    code, _, err = run(capsys, "train", text, *TRAIN, "--max-steps", 2, "--out", tmp_path / "run")
    assert code == 0
    assert "It is as good as counting, and no better." in err
    assert "-0.0000" not in err
    assert run(capsys, "eval", tmp_path / "run", text)[1].startswith("0.0000 nats")


def test_a_run_of_any_name_can_be_exported_by_what_it_says_last(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    folder = tmp_path / "we ird [1]"
    folder.mkdir()
    monkeypatch.chdir(folder)
    base = ("train", "--corpus", "pydoc", *TRAIN, "--max-steps", 2, "--out")
    assert "folder with a name, not ''" in told(capsys, *base, "")
    assert "folder with a name, not '/'" in told(capsys, *base, "/")
    assert list(folder.iterdir()) == []
    _, _, err = run(capsys, *base, ".")
    assert "\nwe ird [1]: " in err
    words = shlex.split(err.splitlines()[-1].partition("export it: minigpt ")[2])
    assert words == ["export", ".", "--onnx", "we ird [1].onnx"]
    assert '"name": "we ird [1]"' in run(capsys, "info", ".", "--json")[1]
    _, _, err = run(capsys, *base, folder, "--force")
    assert err.endswith(f"minigpt export {shell_word(folder)} --onnx {shell_word(words[-1])}\n")


def test_a_text_too_short_to_score_is_told_what_helps(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = tmp_path / "a.txt"
    text.write_text("so", encoding="utf-8")
    said = refused(capsys, "eval", LAPTOP, text)
    assert "has 1 that the model knows; give a longer text, or --split all" in said
    assert run(capsys, "eval", LAPTOP, text, "--split", "all")[0] == 0
    text.write_text("s", encoding="utf-8")
    for split in ("val", "all"):
        said = refused(capsys, "eval", LAPTOP, text, "--split", split)
        assert said.endswith("; give a longer text")


def test_a_batch_beyond_all_is_refused_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    said = refused(capsys, "train", "--corpus", "pydoc", "--set", "batch_size=1000000000")
    assert "batch_size must be at most 65536" in said


@pytest.mark.parametrize("name", ["run.toml", "metrics.jsonl", "loss.png"])
def test_a_file_of_ones_own_is_not_replaced_by_a_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    pytest.importorskip("torch")
    (tmp_path / name).write_text("max_steps = 2", encoding="utf-8")
    base = ("train", "--corpus", "pydoc", *TRAIN, "--max-steps", 2, "--out", tmp_path)
    assert f"{name} would be replaced; --force does so" in refused(capsys, *base)
    assert (tmp_path / name).read_text(encoding="utf-8") == "max_steps = 2"
    assert run(capsys, *base, "--force")[0] == 0


def test_exports_that_cannot_be(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "folder").mkdir()
    for force in ((), ("--force",)):
        said = refused(capsys, "export", tmp_path, "--onnx", tmp_path / "folder", *force)
        assert f"cannot write {tmp_path / 'folder'}: it is a folder; choose another" in said
    (tmp_path / "file").touch()
    said = refused(capsys, "export", tmp_path, "--genai", tmp_path / "file")
    assert "file is a file, not a folder" in said
    name = tmp_path / "both"
    said = refused(capsys, "export", tmp_path, "--onnx", name, "--genai", name)
    assert "give two names" in said
    assert not name.exists()


def test_a_text_is_not_downloaded_to_a_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for force in ((), ("--force",)):
        said = refused(capsys, "data", "shakespeare", "--out", tmp_path, *force)
        assert said.endswith(f"cannot write {tmp_path}: it is a folder; choose another name")


def test_a_model_that_was_never_trained_says_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    folder = tmp_path / "run"
    base = ("train", "--corpus", "pydoc", *TRAIN, "--out", folder)
    assert run(capsys, *base, "--max-steps", 5)[0] == 0
    first = folder / "previous.safetensors"  # saved before the first evaluation
    _, _, err = run(capsys, "generate", first, "--max-new-tokens", 5)
    assert "warning: this is the model before its first step" in err
    said = refused_after(capsys, "export", first, "--onnx", tmp_path / "a.onnx")
    assert "was saved before the run was first evaluated" in said
    assert json.loads(run(capsys, "info", first, "--json")[1])["val_loss"] is None
    assert "val_loss         not measured yet\n" in run(capsys, "info", first)[1]
    assert "before its first step" not in run(capsys, "generate", folder)[2]


def test_no_name_is_not_the_folder_we_are_in(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "best.safetensors").touch()
    for command in ("generate", "info", "bench"):
        assert "there is no file or model ''" in refused(capsys, command, "")
    for unset in (("export", "a", "--onnx", ""), ("export", ""), ("train", "")):
        assert "must name a file or a folder, not ''" in told(capsys, *unset)


def test_what_is_exported_is_not_exported_again(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    base = ("export", "--onnx", tmp_path / "b.onnx")
    said = refused(capsys, *base, LAPTOP)
    assert said.endswith("it is exported already; give the folder of its run")
    other = tmp_path / "other"
    other.write_bytes(b"{}")
    assert refused(capsys, *base, other).endswith("it was cut short, or is another file")


@pytest.mark.skipif(os.name == "nt", reason="Windows deletes no folder that somebody is in")
def test_a_folder_that_is_gone_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    gone, runs = tmp_path / "gone", tmp_path / "run"
    gone.mkdir()
    runs.mkdir()
    program = f"import sys, os; os.rmdir({str(gone)!r}); from minigpt.cli import main; "
    for arguments in (["train", "--corpus", "pydoc"], ["generate", str(runs)], ["export", "a"]):
        command = [sys.executable, "-c", f"{program}sys.exit(main({arguments}))"]
        done = subprocess.run(command, cwd=gone, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert "minigpt: the folder that this was started in is gone" in done.stderr
        assert done.stderr.count("\n") == 1
        gone.mkdir()


def refused_after(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The last line of a command that fails with 2."""
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    return err.splitlines()[-1]
