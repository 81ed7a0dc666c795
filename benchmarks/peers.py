"""The ways to write text with one GPT-2 that `decode.py` compares: ours and other people's.

Each group of ways is a function that takes the model and a folder for files, and returns what it
can do by name. Libraries are imported there: one that is not installed raises ModuleNotFoundError.
A way reads its prompt anew at each call; top_p is 0.95 where a library has it.
"""

import ctypes
import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.models import TOKENIZER, export_model
from minigpt.model import GPT
from minigpt.runtime.decoder import Decoder
from minigpt.runtime.generation import generate
from minigpt.runtime.library import load
from minigpt.runtime.onnx_file import open_onnx
from minigpt.runtime.onnx_graph import Precision
from minigpt.runtime.onnx_session import default_threads
from minigpt.runtime.params import SamplingParams
from minigpt.torch_decoder import TorchDecoder
from minigpt_export.genai import genai_files

TOP_P = 0.95
PRECISIONS: tuple[Precision, ...] = ("fp32", "int8", "int4")

Write = Callable[[Sequence[int], int, float], list[int]]
"""A prompt, a number of tokens and a temperature (0: greedy) in, the tokens out."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to write text."""

    name: str
    write: Write
    exact: bool = True
    """Whether its weights are the model's own, so that it must write the same greedy text."""


def ours(model: GPT, folder: Path) -> Iterator[Way]:
    """The .onnx file of each precision, in the loop of this project, a record for every token."""
    for precision in PRECISIONS:
        decoder = load(export_model(model, precision, folder)).decoder
        yield Way(f"minigpt {precision}", _loop(decoder), exact=precision == "fp32")


def pytorch(model: GPT, folder: Path) -> Iterator[Way]:
    """The PyTorch model: with its KV cache in our loop, and as nanoGPT samples."""
    yield Way("PyTorch, our KV cache", _loop(TorchDecoder(model)))
    yield Way("PyTorch, nanoGPT-style", _uncached(model))


def transformers(model: GPT, folder: Path) -> Iterator[Way]:
    """Hugging Face transformers: `generate`, and a loop by hand, which does less for a token."""
    peer = _transformers_model(model)
    yield Way("transformers generate()", _transformers_generate(peer))
    yield Way("transformers, loop by hand", _transformers_loop(peer))


def llama_cpp(model: GPT, folder: Path) -> Iterator[Way]:
    """llama.cpp, with files of its own quantizer and one, two and all threads.

    As it comes, if it survives that: on a processor with AMX its 0.3.36 dies of a segmentation
    fault over 65 tokens in 8 and 4 bits, and then has to leave its weights as the file has them.
    """
    llama = _llama()
    for kind in ("F32", "Q8_0", "Q4_0"):
        path = folder / f"{kind}.gguf"
        if kind == "F32":
            _write_gguf(model, path)
        else:
            _quantize_gguf(llama, folder / "F32.gguf", kind, path)
        repack = _survives(path)
        how = "" if repack else ", not repacked"
        for n_threads, threads in _thread_counts():
            write = _llama_cpp(llama, path, n_threads, repack=repack)
            yield Way(f"llama.cpp {kind}, {threads}{how}", write, exact=kind == "F32")


def genai(model: GPT, folder: Path) -> Iterator[Way]:
    """onnxruntime-genai, on the very files that `ours` runs."""
    import onnxruntime_genai as og

    for precision in PRECISIONS:
        file = open_onnx(export_model(model, precision, folder))
        for name, content in genai_files(file).items():
            path = folder / precision / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for n_threads, threads in _thread_counts():
            write = _genai(og, folder / precision, n_threads)
            name = f"onnxruntime-genai {precision}, {threads}"
            yield Way(name, write, exact=precision == "fp32")


GROUPS = (ours, pytorch, transformers, llama_cpp, genai)


def _thread_counts() -> list[tuple[int, str]]:
    """One, two and all, with what to call them, for peers that do not choose well themselves."""
    counts = sorted({1, 2, default_threads(2**31)})
    return [(n, "1 thread" if n == 1 else f"{n} threads") for n in counts]


def _loop(decoder: Decoder) -> Write:
    def write(prompt: Sequence[int], n_tokens: int, temperature: float) -> list[int]:
        params = SamplingParams(temperature=temperature, top_p=TOP_P, max_new_tokens=n_tokens)
        return [token.id for token in generate(decoder, TOKENIZER, prompt, lambda: params)]

    return write


def _uncached(model: GPT) -> Write:
    # crop to the window, run all of it, draw from the last row, append
    @torch.inference_mode()
    def write(prompt: Sequence[int], n_tokens: int, temperature: float) -> list[int]:
        tokens = torch.tensor([prompt])
        for _ in range(n_tokens):
            logits = model(tokens[:, -model.config.block_size :])[:, -1]
            tokens = torch.cat((tokens, _drawn(logits, temperature)), dim=1)
        return tokens[0, len(prompt) :].tolist()

    return write


def _drawn(logits: Tensor, temperature: float) -> Tensor:
    """One token of a row of logits (1,V), as (1,1); without top_p, which nanoGPT has not."""
    if temperature == 0:
        return logits.argmax(-1, keepdim=True)
    return torch.multinomial((logits / temperature).softmax(-1), 1)


def _transformers_model(model: GPT) -> Any:
    """The same weights as a GPT2LMHeadModel."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = model.config
    peer = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=config.vocab_size,
            n_positions=config.block_size,
            n_embd=config.n_embd,
            n_layer=config.n_layer,
            n_head=config.n_head,
            activation_function="gelu",
            bos_token_id=None,
            eos_token_id=None,
        )
    ).eval()
    weights = {}
    for name, weight in model.state_dict().items():
        in_block = name.startswith("h.") and weight.dim() == 2
        full = name if name.startswith("lm_head") else f"transformer.{name}"
        weights[full] = weight.T if in_block else weight  # theirs multiply from the other side
    peer.load_state_dict(weights)
    return peer


def _transformers_generate(peer: Any) -> Write:
    def write(prompt: Sequence[int], n_tokens: int, temperature: float) -> list[int]:
        ids = torch.tensor([prompt])
        how = {"do_sample": True, "temperature": temperature, "top_p": TOP_P, "top_k": 0}
        found = peer.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=n_tokens,
            pad_token_id=0,
            **(how if temperature else {"do_sample": False}),
        )
        tokens: list[int] = found[0, len(prompt) :].tolist()
        return tokens

    return write


def _transformers_loop(peer: Any) -> Write:
    @torch.inference_mode()
    def write(prompt: Sequence[int], n_tokens: int, temperature: float) -> list[int]:
        ids, past = torch.tensor([prompt]), None
        tokens = []
        for _ in range(n_tokens):
            out = peer(ids, past_key_values=past, use_cache=True)
            ids, past = _drawn(out.logits[:, -1], temperature), out.past_key_values
            tokens.append(int(ids))
        return tokens

    return write


def _write_gguf(model: GPT, path: Path) -> None:
    """The same weights for llama.cpp, in F32."""
    import gguf

    config = model.config
    writer = gguf.GGUFWriter(path, "gpt2")
    writer.add_block_count(config.n_layer)
    writer.add_context_length(config.block_size)
    writer.add_embedding_length(config.n_embd)
    writer.add_feed_forward_length(4 * config.n_embd)
    writer.add_head_count(config.n_head)
    writer.add_layer_norm_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("none")  # it will be asked for ids alone
    writer.add_vocab_size(config.vocab_size)
    for name, weight in model.state_dict().items():
        if name != "lm_head.weight":  # tied: llama.cpp takes the embedding
            writer.add_tensor(_gguf_name(name), weight.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _gguf_name(name: str) -> str:
    """For example h.3.attn.c_proj.weight becomes blk.3.attn_output.weight."""
    table = {
        "wte": "token_embd",
        "wpe": "position_embd",
        "ln_f": "output_norm",
        "ln_1": "attn_norm",
        "attn.c_attn": "attn_qkv",
        "attn.c_proj": "attn_output",
        "ln_2": "ffn_norm",
        "mlp.c_fc": "ffn_up",
        "mlp.c_proj": "ffn_down",
    }
    module, kind = name.rsplit(".", 1)
    if not module.startswith("h."):
        return f"{table[module]}.{kind}"
    _, i, part = module.split(".", 2)
    return f"blk.{i}.{table[part]}.{kind}"


def _quantize_gguf(llama: Any, source: Path, kind: str, target: Path) -> None:
    """By llama.cpp's own quantizer; `kind` is Q8_0 or Q4_0."""
    params = llama.llama_model_quantize_default_params()
    params.ftype = getattr(llama, f"LLAMA_FTYPE_MOSTLY_{kind}")
    paths = str(source).encode(), str(target).encode()
    if llama.llama_model_quantize(*paths, ctypes.byref(params)) != 0:
        raise RuntimeError(f"llama.cpp could not write {target}")


def _survives(path: Path) -> bool:
    """Whether llama.cpp writes with that file, in a process of its own, or dies of it."""
    child = multiprocessing.get_context("spawn").Process(target=_write_a_little, args=(path,))
    child.start()
    child.join()
    return child.exitcode == 0


def _write_a_little(path: Path) -> None:
    _llama_cpp(_llama(), path, 1, repack=True)([0] * 16, 2, 0.0)


def _llama_cpp(llama: Any, path: Path, n_threads: int, *, repack: bool) -> Write:
    """llama.cpp through the C functions of llama-cpp-python, with llama.cpp's own samplers.

    Its `Llama` class would copy all logits into a numpy array for every token.

    Args:
        llama: the library.
        path: a GGUF file.
        n_threads: for prompts and for single tokens.
        repack: whether it may lay the weights out for the processor, as it does by itself.
    """
    options = llama.llama_model_default_params()
    options.use_extra_bufts = repack
    model = llama.llama_model_load_from_file(str(path).encode(), options)
    settings = llama.llama_context_default_params()
    settings.n_ctx = llama.llama_model_n_ctx_train(model)
    settings.n_threads = settings.n_threads_batch = n_threads
    context = llama.llama_init_from_model(model, settings)
    if not context:
        raise RuntimeError(f"llama.cpp cannot run {path}")

    def write(prompt: Sequence[int], n_tokens: int, temperature: float) -> list[int]:
        llama.llama_memory_clear(llama.llama_get_memory(context), True)
        sampler = _llama_sampler(llama, temperature)
        unread = (llama.llama_token * len(prompt))(*prompt)
        tokens: list[int] = []
        for _ in range(n_tokens):
            if llama.llama_decode(context, llama.llama_batch_get_one(unread, len(unread))) != 0:
                raise RuntimeError(f"llama.cpp cannot run {path}")
            tokens.append(llama.llama_sampler_sample(sampler, context, -1))
            unread = (llama.llama_token * 1)(tokens[-1])
        llama.llama_sampler_free(sampler)
        return tokens

    return write


def _llama_sampler(llama: Any, temperature: float) -> Any:
    chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
    if temperature == 0:
        llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_greedy())
        return chain
    llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_temp(temperature))
    llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_top_p(TOP_P, 1))
    llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_dist(1337))
    return chain


def _llama() -> Any:
    """llama-cpp-python, made silent."""
    import llama_cpp as llama

    llama.llama_log_set(_SILENCE, ctypes.c_void_p())
    return llama


# llama.cpp's log goes here; kept in the module, as it is called as long as the library is loaded
_SILENCE = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)


def _genai(og: Any, folder: Path, n_threads: int) -> Write:
    config = og.Config(str(folder))
    options = {"session_options": {"intra_op_num_threads": n_threads}}
    config.overlay(json.dumps({"model": {"decoder": options}}))
    model = og.Model(config)

    def write(prompt: Sequence[int], n_tokens: int, temperature: float) -> list[int]:
        params = og.GeneratorParams(model)
        length = len(prompt) + n_tokens
        how = {"do_sample": True, "temperature": temperature, "top_p": TOP_P, "top_k": 0}
        params.set_search_options(
            max_length=length, **(how if temperature else {"do_sample": False})
        )
        generator = og.Generator(model, params)
        generator.append_tokens(list(prompt))
        tokens = []
        for _ in range(n_tokens):
            generator.generate_next_token()
            tokens.append(int(generator.get_next_tokens()[0]))
        return tokens

    return write
