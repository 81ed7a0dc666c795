import pyperclip
import pytest


@pytest.fixture(autouse=True)
def clipboard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was copied: a test must not take what somebody else wants to paste."""
    copied: list[str] = []
    monkeypatch.setattr(pyperclip, "copy", copied.append)
    return copied


@pytest.fixture(autouse=True)
def folders(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or writes what the user keeps."""
    for variable in ("MINIGPT_HOME", "MINIGPT_CONFIG_DIR"):
        monkeypatch.setenv(variable, str(tmp_path_factory.mktemp(variable.lower())))
