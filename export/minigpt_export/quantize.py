"""Weights in fewer bits: what the file stores, and what onnxruntime computes from it.

- fp32: as trained.
- fp16: half the size; cast back when the file is loaded, so speed and memory are fp32's.
- int8, int4: the matrices of the blocks as small whole numbers with a scale for every few of them
  (MatMulNBits), a quarter and an eighth of the size. Embeddings, norms and head stay fp32: at a
  vocabulary of characters they are small, and every error there goes straight to the logits.

Block sizes by measurement (384 x 1536, one thread): 8 bits in blocks of 128 are 10 to 15% faster
than in blocks of 32 and err by 0.9% instead of 0.75%; 4 bits err by 8.6% in blocks of 32 and by
10.4% in blocks of 128, which is worth more than their 5% of speed.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

Precision = Literal["fp32", "fp16", "int8", "int4"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

BITS_AND_BLOCK: dict[Precision, tuple[int, int]] = {"int8": (8, 64), "int4": (4, 32)}


@dataclass(frozen=True, slots=True)
class QuantizedMatrix:
    """A matrix [N, K] as MatMulNBits reads it: value = (number - 2**(bits - 1)) * scale."""

    numbers: npt.NDArray[np.uint8]
    """[N, K / block_size, block_size * bits / 8]; of two 4-bit numbers the first is the low one."""
    scales: npt.NDArray[np.float32]
    """[N, K / block_size]."""
    bits: int
    block_size: int


def quantize(matrix: npt.NDArray[np.float32], *, bits: int, block_size: int) -> QuantizedMatrix:
    """Round each block of a row to 2**bits steps.

    The scale maps the number of largest magnitude, sign included, to the end of the range that
    has one step more (-2**(bits - 1)), so that no block wastes it.

    Args:
        matrix: [N, K]; rows are filled up with zeros to whole blocks.
        bits: 8 or 4.
        block_size: numbers that share a scale, a power of two from 16 on.
    """
    n_rows, n_columns = matrix.shape
    padded = np.pad(matrix, ((0, 0), (0, -n_columns % block_size)))
    blocks = padded.reshape(n_rows, -1, block_size)
    half = 2 ** (bits - 1)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(-1, keepdims=True), -1)
    scales = largest / -half
    steps = np.divide(blocks, scales, out=np.zeros_like(blocks), where=scales != 0)
    numbers = np.clip(np.rint(steps) + half, 0, 2 * half - 1).astype(np.uint8)
    if bits == 4:
        numbers = numbers[..., 0::2] | numbers[..., 1::2] << 4
    return QuantizedMatrix(numbers, scales[..., 0].astype(np.float32), bits, block_size)


def dequantize(matrix: QuantizedMatrix, n_columns: int) -> npt.NDArray[np.float32]:
    """The matrix [N, n_columns] that a quantized one stands for."""
    numbers = matrix.numbers
    if matrix.bits == 4:
        numbers = np.stack((numbers & 15, numbers >> 4), axis=-1).reshape(*numbers.shape[:2], -1)
    steps = numbers.astype(np.float32) - 2 ** (matrix.bits - 1)
    values = steps * matrix.scales[..., None]
    return np.asarray(values.reshape(len(numbers), -1)[:, :n_columns])
