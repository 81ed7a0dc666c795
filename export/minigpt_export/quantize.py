"""Weights in fewer bits: what the file stores, and what onnxruntime computes from it.

- fp32: as trained.
- fp16: half the size; cast back when the file is loaded, so speed and memory are fp32's.
- int8, int4: the matrices of the blocks as small whole numbers with a scale for every few of them
  (MatMulNBits), a quarter and an eighth of the size. Embeddings and head are halves: at a
  vocabulary of characters they are small, and every error there goes straight to the logits. At a
  large vocabulary the head, which then takes most of the time, has 8 bits.

By measurement (384 x 1536, one thread of a processor without VNNI, 1 and 4 rows at once): 8 bits in
blocks of 32, 64 and 128 take 53, 51 and 47 us for a row and 120, 113 and 107 us for four. But the
rows of one pass and of several are the same to the last bit up to blocks of 64 only, and on that
rest guesses (see `minigpt/runtime/reader.py`). 4 bits err by 8.6% in blocks of 32 and by 10.4% in
blocks of 128, which is worth more than their 5% of speed. The rival, DynamicQuantizeMatMul, takes
39 and 58 us, but has one scale for all the rows of a pass, so that what a row gives depends on its
neighbours, and one for each column of weights.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class QuantizedMatrix:
    """A matrix [N, K] as MatMulNBits reads it: value = (number - 2**(bits - 1)) * scale."""

    numbers: npt.NDArray[np.uint8]
    """[N, K / block_size, block_size * bits / 8]; of two 4-bit numbers the first is the low one."""
    scales: npt.NDArray[np.float16]
    """[N, K / block_size]; halves, which saves 3% of a file in int8 and 9% in int4."""
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
    exact = largest / -half
    stored = exact.astype(np.float16)
    # away from zero, or the largest number would not fit
    short = np.abs(stored) < np.abs(exact)
    outwards = np.copysign(np.inf, exact).astype(np.float16)
    stored[short] = np.nextafter(stored, outwards)[short]
    scales = stored.astype(np.float32)
    steps = np.divide(blocks, scales, out=np.zeros_like(blocks), where=scales != 0)
    numbers = np.clip(np.rint(steps) + half, 0, 2 * half - 1).astype(np.uint8)
    if bits == 4:
        numbers = numbers[..., 0::2] | numbers[..., 1::2] << 4
    return QuantizedMatrix(numbers, stored[..., 0], bits, block_size)


def dequantize(matrix: QuantizedMatrix, n_columns: int) -> npt.NDArray[np.float32]:
    """The matrix [N, n_columns] that a quantized one stands for."""
    numbers = matrix.numbers
    if matrix.bits == 4:
        numbers = np.stack((numbers & 15, numbers >> 4), axis=-1).reshape(*numbers.shape[:2], -1)
    steps = numbers.astype(np.float32) - 2 ** (matrix.bits - 1)
    values = steps * matrix.scales[..., None].astype(np.float32)
    return np.asarray(values.reshape(len(numbers), -1)[:, :n_columns])
