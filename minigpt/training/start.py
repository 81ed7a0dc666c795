"""What a run can begin with instead of random weights: what a model has learned already."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from minigpt.config import GPTConfig, ModelCard
from minigpt.model import GPT, OF_VOCABULARY
from minigpt.runtime.onnx_file import OnnxFile
from minigpt.tokenizer import CharTokenizer
from minigpt.training.checkpoint import Checkpoint, build_model, model_weights


@dataclass(frozen=True, slots=True)
class Start:
    """A model to go on from."""

    name: str
    """By which it was asked for."""
    model: GPTConfig
    tokenizer: CharTokenizer
    card: ModelCard
    weights: dict[str, Tensor]
    """As `checkpoint.model_weights` names them."""

    @classmethod
    def from_checkpoint(cls, name: str, found: Checkpoint) -> Self:
        """The model of a run."""
        weights = model_weights(build_model(found))
        return cls(name, found.model, found.tokenizer, found.card, weights)

    @classmethod
    def from_file(
        cls, name: str, file: OnnxFile, arrays: Mapping[str, npt.NDArray[np.float32]]
    ) -> Self:
        """An exported model, with its weights under the names of `model.py`."""
        weights = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        return cls(name, file.config, file.tokenizer, file.card, weights)


@torch.no_grad()
def begin_with(start: Start, model: GPT, tokenizer: CharTokenizer) -> None:
    """Put a start's weights into a model of its shape but for the vocabulary.

    A character gets the row that it has there; one that is new there keeps the row that it has.
    """
    known = start.tokenizer.chars
    here = [i for i, char in enumerate(tokenizer.chars) if char in known]
    there = [known.index(tokenizer.chars[i]) for i in here]
    for name, tensor in model_weights(model).items():
        if name in OF_VOCABULARY:
            tensor[here] = start.weights[name][there]
        else:
            tensor.copy_(start.weights[name])
