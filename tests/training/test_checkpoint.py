import json
import math
import os
import random
from dataclasses import asdict, replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from minigpt.config import GPTConfig, ModelCard, TrainConfig
from minigpt.errors import InputError
from minigpt.tokenizer import CharTokenizer
from minigpt.training.checkpoint import (
    BEST,
    LAST,
    PREVIOUS,
    TO_GO_ON,
    TO_USE,
    Checkpoint,
    Machine,
    build_model,
    check_one_run,
    load,
    load_first,
    model_weights,
    save,
)
from tests.conftest import CARD, SMALL
from tests.models import random_gpt


def save_last(saved: Checkpoint, folder: Path) -> None:
    """As a run does."""
    save(saved, folder / LAST, keep_old_as=folder / PREVIOUS)


def checkpoint(mark: float = 1.0) -> Checkpoint:
    return Checkpoint(
        model=SMALL,
        train=TrainConfig(),
        tokenizer=CharTokenizer("abcde"),
        card=CARD,
        excerpt="abcde",
        draft="",
        best_val_loss=mark,
        evaluations_since_best=3,
        weights=model_weights(random_gpt(SMALL)),
        optimizer={"wte.weight/exp_avg": torch.full((5, 16), mark)},
    )


def nano() -> Checkpoint:
    """As small as they come: tests that damage each byte of it pay for each."""
    config = GPTConfig(n_layer=1, n_head=1, n_embd=8, block_size=8, vocab_size=5)
    return replace(
        checkpoint(),
        model=config,
        weights=model_weights(random_gpt(config)),
        optimizer={"wte.weight/exp_avg": torch.ones(5, 8)},
    )


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    save(checkpoint(), tmp_path / LAST)
    back = load(tmp_path / LAST)
    assert (back.model, back.train, back.tokenizer) == (
        SMALL,
        TrainConfig(),
        CharTokenizer("abcde"),
    )
    assert (back.card, back.best_val_loss, back.evaluations_since_best) == (CARD, 1.0, 3)
    assert back.excerpt == "abcde"
    for name, tensor in model_weights(random_gpt(SMALL)).items():
        assert torch.equal(back.weights[name], tensor), name
    assert set(back.optimizer) == {"wte.weight/exp_avg"}
    assert build_model(back).config == SMALL


def test_one_of_before_the_average_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def older(record: GPTConfig | TrainConfig | ModelCard) -> dict[str, object]:
        return {name: value for name, value in asdict(record).items() if name != "ema_decay"}

    monkeypatch.setattr("minigpt.training.checkpoint.asdict", older)
    save(checkpoint(), tmp_path / LAST)
    assert b"ema_decay" not in (tmp_path / LAST).read_bytes()
    assert load(tmp_path / LAST).train == replace(TrainConfig(), ema_decay=0.0)


def test_what_is_used_is_the_average(tmp_path: Path) -> None:
    average = torch.full((5, 16), 2.0)
    save(replace(checkpoint(), optimizer={"wte.weight/ema": average}), tmp_path / LAST)
    back = load(tmp_path / LAST)
    assert torch.equal(build_model(back).wte.weight, average)
    assert not torch.equal(back.weights["wte.weight"], average)


def test_the_same_checkpoint_is_the_same_bytes(tmp_path: Path) -> None:
    save(checkpoint(), tmp_path / "a")
    save(checkpoint(), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_flipped_bits_are_found(tmp_path: Path) -> None:
    path = tmp_path / LAST
    save(nano(), path)
    content = path.read_bytes()
    header_end = 8 + int.from_bytes(content[:8], "little")
    # a bit of every byte of the header, which holds all texts, and of every eighth of the data
    with path.open("r+b", buffering=0) as file:  # a new file each time would cost 3 ms
        for at in (*range(header_end), *range(header_end, len(content), 8)):
            flipped = content[at] ^ 1 << random.Random(at).randrange(8)
            file.seek(at)
            file.write(bytes([flipped]))
            with pytest.raises(InputError, match=LAST):
                load(path)
            file.seek(at)
            file.write(content[at : at + 1])
    assert load(path).best_val_loss == 1.0


def test_truncations_are_found(tmp_path: Path) -> None:
    path = tmp_path / LAST
    save(nano(), path)
    content = path.read_bytes()
    header_end = 8 + int.from_bytes(content[:8], "little")
    lengths = {*range(12), *range(header_end - 3, header_end + 3), len(content) - 1}
    lengths |= set(range(0, len(content), len(content) // 200))
    for length in sorted(lengths, reverse=True):
        os.truncate(path, length)
        with pytest.raises(InputError, match=LAST):
            load(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(InputError, match=LAST):
        load(path)


def test_files_of_two_runs_are_told_apart(tmp_path: Path) -> None:
    mine = checkpoint(1.0)
    others = [
        replace(mine, train=replace(mine.train, seed=2)),
        replace(mine, model=replace(SMALL, dropout=0.1)),
        replace(mine, card=replace(CARD, corpus_sha256="1" * 64)),
        replace(mine, tokenizer=CharTokenizer("abcdf")),
    ]
    save_last(replace(mine, card=replace(CARD, steps=5)), tmp_path)
    check_one_run(tmp_path, mine)
    for name in (BEST, PREVIOUS):
        for other in others:
            save(other, tmp_path / name)
            with pytest.raises(InputError, match=f"{name} is of another run"):
                check_one_run(tmp_path, mine)
        save(mine, tmp_path / name)
        check_one_run(tmp_path, mine)


def test_what_has_changed_since_a_save_is_told(tmp_path: Path) -> None:
    now = Machine()
    save(checkpoint(), tmp_path / LAST)
    assert now.difference(load(tmp_path / LAST).machine) == ""
    then = Machine(
        torch_version="2.0.1", threads=now.threads + 3, processes=4, device="GPU", bfloat16=True
    )
    save(replace(checkpoint(), machine=then), tmp_path / LAST)
    assert now.difference(load(tmp_path / LAST).machine) == (
        f"torch_version 2.0.1 -> {torch.__version__}, "
        f"threads {now.threads + 3} -> {now.threads}, processes 4 -> 1, "
        "device GPU -> cpu, bfloat16 True -> False"
    )
    older = Machine(device=None, bfloat16=None)
    save(replace(checkpoint(), machine=older), tmp_path / LAST)
    assert now.difference(load(tmp_path / LAST).machine) == ""


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
    with pytest.raises(InputError, match=r"no checkpoint.*minigpt train wrote$"):
        load_first(tmp_path, TO_USE)
    (tmp_path / "onnx").mkdir()  # as `export --genai` leaves one
    (tmp_path / "onnx" / "model.onnx").touch()
    with pytest.raises(InputError, match=r"a model file in it: .*model\.onnx$"):
        load_first(tmp_path, TO_USE)
    (tmp_path / LAST).write_bytes(b"PK\x03\x04 this was a pickle")
    with pytest.raises(InputError, match="not a whole checkpoint"):
        load_first(tmp_path, TO_USE)


def test_another_format_is_another_minigpt_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("minigpt.training.checkpoint.FORMAT", 1)
        save(checkpoint(), tmp_path / LAST)
    with pytest.raises(InputError, match="another minigpt"):
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


@pytest.mark.parametrize(
    "change",
    [
        {"model": replace(SMALL, n_layer=3)},
        {"model": replace(SMALL, vocab_size=6)},
        {"model": replace(SMALL, n_embd=2**16)},
        {"tokenizer": CharTokenizer("ab")},
        {"weights": {"wte.weight": torch.zeros(5, 16)}},
    ],
)
def test_parts_that_are_not_of_one_model_are_refused(
    tmp_path: Path, change: dict[str, object]
) -> None:
    save(replace(checkpoint(), **change), tmp_path / LAST)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="not of one model"):
        load(tmp_path / LAST)


def test_weights_under_other_names_are_refused(tmp_path: Path) -> None:
    whole = checkpoint()
    renamed = {name.replace("wte", "emb"): tensor for name, tensor in whole.weights.items()}
    save(replace(whole, weights=renamed), tmp_path / LAST)
    with pytest.raises(InputError, match="not those of a model"):
        build_model(load(tmp_path / LAST))


def test_a_pipe_in_a_run_s_folder_is_passed_over(tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no named pipes here")
    save_last(checkpoint(2.0), tmp_path)
    os.mkfifo(tmp_path / BEST)
    assert load_first(tmp_path, TO_USE)[0].best_val_loss == 2.0


@pytest.mark.parametrize(
    ("key", "value"),
    [("evaluations_since_best", "x"), ("evaluations_since_best", math.inf), ("threads", math.inf),
     ("best_val_loss", "x"), ("card", {"steps": -5}), ("card", {"steps": 10**9})],
)  # fmt: skip
def test_sealed_nonsense_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: object
) -> None:
    whole = json.dumps

    def sealed(info: object, **options: bool) -> str:
        if isinstance(info, dict) and "checksum" in info:
            info = {**info, key: info[key] | value if isinstance(value, dict) else value}
        return whole(info, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(json, "dumps", sealed)
        save(checkpoint(), tmp_path / LAST)
    with pytest.raises(InputError):
        load(tmp_path / LAST)
