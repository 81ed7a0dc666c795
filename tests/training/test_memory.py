import os
import threading
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from minigpt.cli import main
from minigpt.config import GPTConfig, TrainConfig
from minigpt.corpus import Corpus
from minigpt.errors import InputError
from minigpt.training import memory, state
from minigpt.training.loop import train
from minigpt.training.memory import is_out_of_memory, must_fit, step_or_advice
from minigpt.training.optim import state_tensors
from minigpt.training.scoring import next_token_loss
from tests.stops import in_child
from tests.training.test_loop import small_run

ON_CPU = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:114] err == 0. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 4294967296 bytes. Error code 12 (Cannot allocate memory)"
)
ON_GPU = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 4.00 GiB.")
ON_WINDOWS = RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.")
ON_FULL_GPU = RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`")
OF_ONEDNN = RuntimeError("could not create a primitive")
OF_NUMPY = MemoryError("Unable to allocate 4.00 GiB for an array")


@pytest.mark.parametrize("error", [ON_CPU, ON_GPU, ON_FULL_GPU, ON_WINDOWS, OF_ONEDNN, OF_NUMPY])
def test_a_batch_too_large_is_told_with_one_that_fits(
    tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:

    def short_of_memory(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() and len(logits) > 6:
            raise error
        return next_token_loss(logits, targets)

    monkeypatch.setattr(state, "next_token_loss", short_of_memory)
    words = r"batch_size 20 x block_size 16 .* batch_size=5, and --set accumulation=8 "
    with pytest.raises(InputError, match=words):
        list(train(small_run(tmp_path, corpus, batch_size=20)))
    assert list(tmp_path.iterdir()) == []
    # what it says is so
    list(train(small_run(tmp_path, corpus, batch_size=5, accumulation=8)))


@pytest.mark.parametrize("error", [ON_CPU, ON_GPU, ON_FULL_GPU, ON_WINDOWS, OF_ONEDNN, OF_NUMPY])
def test_a_model_too_large_for_any_batch(
    tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def no_memory(*_: object) -> None:
        raise error

    run = small_run(tmp_path, corpus)
    whole_model = "does not fit into memory; training it takes more"
    for name, words in (
        ("GPT", whole_model),
        ("make_optimizers", whole_model),
        ("Average", whole_model),
        ("next_token_loss", "nor does a batch of one"),
        ("evaluate", whole_model),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(state, name, no_memory)
            with pytest.raises(InputError, match=words):
                list(train(run))


def test_what_lasts_is_there_before_the_first_step(tmp_path: Path, corpus: Corpus) -> None:
    run = small_run(tmp_path, corpus, ema_decay=0.9, muon_learning_rate=0.01)
    training = state.Training(run, None)
    training.rehearse()
    remembered = state_tensors(training.model, training._with_state)
    training.advance()
    after = state_tensors(training.model, training._with_state)
    assert {k: v.shape for k, v in remembered.items()} == {k: v.shape for k, v in after.items()}
    assert sum(v.numel() for v in remembered.values()) > 2 * run.model.n_params()


def test_other_errors_stay_what_they_are() -> None:
    bug = RuntimeError("mat1 and mat2 shapes cannot be multiplied (4x5 and 6x7)")
    assert not is_out_of_memory(bug)
    with pytest.raises(RuntimeError, match="mat1"), must_fit(GPTConfig()):
        raise bug


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ("nothing", "--set a smaller n_embd, n_layer or block_size"),
        ("shape", "begin with a smaller model"),
        ("everything", "a resumed run keeps its settings, so go on where more of it is free"),
    ],
)
def test_only_what_can_be_chosen_is_advised(given: memory.Given, advice: str) -> None:
    with pytest.raises(InputError, match=f"GB: {advice}$"), must_fit(GPTConfig(), given):
        raise ON_CPU
    tried: list[int] = []

    def step(config: TrainConfig) -> None:
        tried.append(config.batch_size)
        raise ON_CPU

    with pytest.raises(InputError, match=f"{advice}$"):
        step_or_advice(step, TrainConfig(batch_size=4), GPTConfig(), given=given)
    assert tried == ([4] if given == "everything" else [4, 1])  # whose batch is what it is


@pytest.mark.parametrize(
    ("groups", "files", "free"),
    [
        # a group of the second version, cached files counted as free; the one above is tighter
        (
            "0::/user/mine",
            {
                "user/mine/memory.max": "1000",
                "user/mine/memory.current": "700",
                "user/mine/memory.stat": "anon 600\ninactive_file 50\nactive_file 30",
                "user/memory.max": "900",
                "user/memory.current": "520",
            },
            380,
        ),
        # inside a container: its own group is the topmost, whatever it is called outside
        ("0::/docker/f00", {"memory.max": "500", "memory.current": "100"}, 400),
        ("0::/", {"memory.max": "max", "memory.current": "100"}, None),
        ("0::/", {}, None),
        ("", {}, None),
        # the first version
        (
            "3:cpu:/a\n2:hugetlb,memory:/b\n0::/",
            {
                "memory/b/memory.limit_in_bytes": "1000",
                "memory/b/memory.usage_in_bytes": "1200",
                "memory/b/memory.stat": "active_file 900\ntotal_active_file 150",
                "memory/memory.limit_in_bytes": "9223372036854771712",
                "memory/memory.usage_in_bytes": "5000",
            },
            0,
        ),
    ],
)
def test_what_a_container_leaves(
    tmp_path: Path, groups: str, files: dict[str, str], free: int | None
) -> None:
    files = {f"sys/fs/cgroup/{name}": content for name, content in files.items()}
    for name, content in {**files, "proc/self/cgroup": groups}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{content}\n" if content else "", encoding="ascii")
    assert memory._free_in_group(tmp_path) == free


def test_what_fits_is_found_where_one_failure_brings_more() -> None:
    """oneDNN's code generator is of no use any more in a thread in which it failed once."""
    failed = threading.local()

    def step(config: TrainConfig) -> None:
        if config.batch_size > 10 or hasattr(failed, "once"):
            failed.once = True
            raise RuntimeError("could not create a primitive")

    with pytest.raises(InputError, match="try --set batch_size=6, and --set accumulation=17 to"):
        step_or_advice(step, TrainConfig(batch_size=100), GPTConfig())


@pytest.mark.parametrize("by", ["limit", "promise", "container"])
def test_short_memory_for_real(
    tmp_path: Path, text_file: Path, capfd: pytest.CaptureFixture[str], by: str
) -> None:
    resource = pytest.importorskip("resource")
    statm = Path("/proc/self/statm")
    if not statm.exists() or not hasattr(os, "fork"):
        pytest.skip("needs fork, and /proc to know how much memory is in use")
    small = ["--set=n_layer=1", "--set=n_embd=16", "--set=n_head=2", "--set=block_size=64"]
    out = [
        "train",
        str(text_file),
        "--preset=tiny",
        "--plain",
        "--set=max_steps=1",
        *small,
        "--out",
    ]
    assert main([*out, str(tmp_path / "warm")]) == 0  # what is imported late is there now

    really = memory._kilobytes

    def limited(name: str, *settings: str) -> int:
        """The exit code of a run that may take 400 MB more than this process has."""

        def child() -> None:
            torch.set_num_threads(1)
            if by == "limit":
                n_pages = int(statm.read_text(encoding="ascii").split()[0])
                in_use = n_pages * os.sysconf("SC_PAGE_SIZE")
                resource.setrlimit(resource.RLIMIT_AS, (in_use + 400_000_000,) * 2)
            elif by == "container":
                memory._free_in_group = lambda root=Path(): 400_000_000
            else:  # a machine that has no more, and does not say so when it is asked for it
                memory._kilobytes = lambda file, *names: (
                    400_000 if file == "meminfo" else really(file, *names)
                )
            os._exit(main([*out, str(tmp_path / name), *settings]))

        return in_child(child)

    capfd.readouterr()
    assert limited("batch", "--set=batch_size=10000") == 2
    said = capfd.readouterr().err.splitlines()[-1]
    assert said.startswith(
        "minigpt: batch_size 10000 x block_size 64 does not fit into memory; try "
    )
    fits = said.split("try --set ")[1].split(",")[0]
    assert limited("fits", f"--set={fits}") == 0
    assert limited("model", "--set=n_embd=20000") == 2
    assert "parameters does not fit into memory" in capfd.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "model" / "metrics.jsonl").exists()
