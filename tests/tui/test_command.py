"""The `minigpt-tui` command before the app starts."""

import subprocess
import sys
from pathlib import Path

import pytest

from minigpt_tui.app import main
from minigpt_tui.preferences import config_path


def test_a_missing_model_is_one_sentence_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["nowhere.onnx"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "nowhere.onnx" in err
    assert err.count("\n") == 1


def test_a_preferred_model_that_is_missing_is_named_with_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    config_path().write_text('model = "book"\n', encoding="utf-8")
    assert main([]) == 2
    says = f"model = 'book' in {config_path()}: there is no file or model"
    assert says in capsys.readouterr().err


def test_a_folder_is_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err


def test_a_missing_shipped_model_says_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("minigpt_tui.app.find_model", lambda name: tmp_path / "gone.onnx")
    monkeypatch.setattr("minigpt_tui.app.list_models", lambda: [tmp_path / "book.onnx"])
    assert main([]) == 2
    assert "minigpt-tui MODEL.onnx; here there are book" in capsys.readouterr().err
    monkeypatch.setattr("minigpt_tui.app.list_models", list)
    assert main([]) == 2
    assert "minigpt train learns one" in capsys.readouterr().err


def test_tells_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out.startswith("minigpt ")


def test_the_interface_imports_no_engine() -> None:
    heavy = ("torch", "onnx", "onnxruntime", "numpy")
    code = (
        "import sys, minigpt_tui.app, minigpt_tui.minigpt_app\n"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_a_run_is_watched_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "metrics.jsonl").touch()
    assert main([str(tmp_path), "other.onnx"]) == 2
    assert "to watch it, give it alone" in capsys.readouterr().err
