"""A folder that onnxruntime-genai, optimum and transformers.js load as it is.

The model in it is the exported file, byte for byte; beside it lies what its metadata says, in the
forms that those runtimes read:

    onnx/model.onnx          the exported file
    genai_config.json        onnxruntime-genai
    config.json              optimum, transformers.js
    generation_config.json   optimum, transformers.js
    tokenizer.json           all three
    tokenizer_config.json    all three

transformers.js looks for the model in `onnx/`; the other two find it there too. Tried with
onnxruntime-genai 0.18 (a test does), optimum-onnx 0.1 and transformers.js 4.3: all write the same
greedy text in every precision. None of them slides the window: their texts end when it is full. And
the prompts of a batch must be of one length, as the graph counts the ones in a mask and does not
ask where they are.
"""

import json
from typing import Any

from minigpt.config import GPTConfig
from minigpt.runtime.onnx_file import OnnxFile
from minigpt.runtime.onnx_session import SMALL_AWAKE
from minigpt.tokenizer import END_OF_TEXT

MODEL = "onnx/model.onnx"


def genai_files(file: OnnxFile) -> dict[str, bytes]:
    """The folder of an exported file: paths below it, and their contents."""
    return {
        MODEL: file.content,
        "genai_config.json": _json(_genai_config(file.config, len(file.content))),
        "config.json": _json(_config(file.config)),
        "generation_config.json": _json(_generation_config(file.config)),
        "tokenizer.json": file.tokenizer.to_json().encode(),
        "tokenizer_config.json": _json(_tokenizer_config(file.config)),
    }


def _json(form: dict[str, Any]) -> bytes:
    return json.dumps(form, indent=2).encode()


def _special_ids(config: GPTConfig) -> dict[str, int]:
    """`<|endoftext|>` is all of them.

    For genai it must be: without an end it would stop at id 0, and where the last token of a prompt
    is the padding, it takes the logits of an earlier one; so no character can be either.
    """
    return dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), config.vocab_size)


def _genai_config(config: GPTConfig, n_bytes: int) -> dict[str, Any]:
    # "decoder" is genai's type for any graph with a cache per layer and side; its "gpt2" wants both
    # sides in one
    # 0 is onnxruntime's own choice, all cores, and they stay awake between tokens; without a number
    # genai runs one thread
    threads = 1 if n_bytes <= SMALL_AWAKE else 0
    return {
        "model": {
            "type": "decoder",
            **_special_ids(config),
            "vocab_size": config.exported_vocab_size,
            "context_length": config.block_size,
            "decoder": {
                "session_options": {"intra_op_num_threads": threads, "provider_options": []},
                "filename": MODEL,
                "head_size": config.head_dim,
                "hidden_size": config.n_embd,
                "num_attention_heads": config.n_head,
                "num_key_value_heads": config.n_head,
                "num_hidden_layers": config.n_layer,
                "inputs": {
                    "input_ids": "input_ids",
                    "attention_mask": "attention_mask",
                    "position_ids": "position_ids",
                    "past_key_names": "past_key_values.%d.key",
                    "past_value_names": "past_key_values.%d.value",
                },
                "outputs": {
                    "logits": "logits",
                    "present_key_names": "present.%d.key",
                    "present_value_names": "present.%d.value",
                },
            },
        },
        "search": {
            "max_length": config.block_size,  # the cache's too; more is an error
            "past_present_share_buffer": True,
            "do_sample": False,
            "top_k": 0,  # off; its default 50 is an error for fewer characters
        },
    }


def _config(config: GPTConfig) -> dict[str, Any]:
    # a rotary model is no GPT-2, but these libraries ask the config for the cache's shape and the
    # ids alone; what is computed, the graph says
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": config.exported_vocab_size,
        "n_positions": config.block_size,
        "n_embd": config.n_embd,
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "activation_function": "gelu",
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": config.tie_weights,
        "use_cache": True,
        **_special_ids(config),
        # else, in a browser, it would look for onnx/model_quantized.onnx
        "transformers.js_config": {"dtype": "fp32"},
    }


def _generation_config(config: GPTConfig) -> dict[str, Any]:
    return {**_special_ids(config), "max_length": config.block_size, "do_sample": False}


def _tokenizer_config(config: GPTConfig) -> dict[str, Any]:
    return {
        "tokenizer_class": "GPT2Tokenizer",
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": config.block_size,
        **dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), END_OF_TEXT),
    }
