from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from minigpt.config import TrainConfig
from minigpt.errors import InputError
from minigpt.tokenizer import CharTokenizer
from minigpt.training.checkpoint import (
    BEST,
    LAST,
    PREVIOUS,
    TO_GO_ON,
    TO_USE,
    Checkpoint,
    load,
    load_first,
    save,
    save_last,
)
from tests.conftest import CARD, SMALL


def checkpoint(mark: float = 1.0) -> Checkpoint:
    return Checkpoint(
        model=SMALL,
        train=TrainConfig(),
        tokenizer=CharTokenizer("abcde"),
        card=CARD,
        best_val_loss=mark,
        weights={"w": torch.full((3, 2), mark), "v": torch.arange(3.0)},
        optimizer={"w/exp_avg": torch.zeros(3, 2)},
    )


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    save(checkpoint(), tmp_path / LAST)
    back = load(tmp_path / LAST)
    assert (back.model, back.train, back.tokenizer) == (
        SMALL,
        TrainConfig(),
        CharTokenizer("abcde"),
    )
    assert (back.card, back.best_val_loss) == (CARD, 1.0)
    assert torch.equal(back.weights["w"], torch.ones(3, 2))
    assert set(back.weights) == {"w", "v"}
    assert set(back.optimizer) == {"w/exp_avg"}


def test_the_same_checkpoint_is_the_same_bytes(tmp_path: Path) -> None:
    save(checkpoint(), tmp_path / "a")
    save(checkpoint(), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    path = tmp_path / LAST
    save(checkpoint(), path)
    content = path.read_bytes()
    for at in range(len(content)):
        damaged = bytearray(content)
        damaged[at] ^= 1 << (at % 8)
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=LAST):
            load(path)


def test_every_truncation_is_found(tmp_path: Path) -> None:
    path = tmp_path / LAST
    save(checkpoint(), path)
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=LAST):
            load(path)


def test_a_damaged_one_is_named_and_the_previous_one_used(tmp_path: Path) -> None:
    save_last(checkpoint(1.0), tmp_path)
    save_last(checkpoint(2.0), tmp_path)
    assert load(tmp_path / PREVIOUS).best_val_loss == 1.0
    (tmp_path / LAST).write_bytes((tmp_path / LAST).read_bytes()[:-1])
    found, refused = load_first(tmp_path, TO_GO_ON)
    assert found.best_val_loss == 1.0
    assert len(refused) == 1
    assert LAST in refused[0]


def test_the_best_one_is_used_and_the_last_one_goes_on(tmp_path: Path) -> None:
    save_last(checkpoint(2.0), tmp_path)
    save(checkpoint(1.0), tmp_path / BEST)
    assert load_first(tmp_path, TO_USE)[0].best_val_loss == 1.0
    assert load_first(tmp_path, TO_GO_ON)[0].best_val_loss == 2.0
    assert load_first(tmp_path / LAST, TO_USE)[0].best_val_loss == 2.0


def test_folders_without_a_whole_checkpoint_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_first(tmp_path / "no", TO_USE)
    with pytest.raises(InputError, match="no checkpoint"):
        load_first(tmp_path, TO_USE)
    (tmp_path / LAST).write_bytes(b"PK\x03\x04 this was a pickle")
    with pytest.raises(InputError, match="not a whole checkpoint"):
        load_first(tmp_path, TO_USE)


def test_a_newer_format_asks_for_a_newer_minigpt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("minigpt.training.checkpoint.FORMAT", 2)
        save(checkpoint(), tmp_path / LAST)
    with pytest.raises(InputError, match="newer minigpt"):
        load(tmp_path / LAST)


def test_an_unwritable_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write"):
        save(checkpoint(), tmp_path / "no" / LAST)


def test_a_failed_save_keeps_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_last(checkpoint(1.0), tmp_path)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fail)
        with pytest.raises(InputError, match="No space"):
            save_last(checkpoint(2.0), tmp_path)
    assert load_first(tmp_path, TO_GO_ON)[0].best_val_loss == 1.0
